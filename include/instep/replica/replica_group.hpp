// Replicas of several tables of one owner that take in its transactions whole, so that foreign
// keys between them hold and their readers see what the owner's readers saw.
#pragma once

#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/consumer/handler.hpp"
#include "instep/db/connection.hpp"
#include "instep/replica/replica.hpp"

#include <memory>
#include <span>
#include <vector>

namespace instep {

class Logger;

/// Applies a topic of whole transactions to the tables of the replicas on it. Give it to a Consumer
/// of ApplyUnit::kTransaction.
///
/// Within one apply(), rows are written in the order of the tables' foreign keys and removed in the
/// reverse order, each as its newest event says; constraints that are deferrable are looked at when
/// the transaction commits. If that is refused, the events are tried once more one by one, as
/// the owner made them.
///
/// A new group is filled table by table, those that others refer to first. So foreign keys hold
/// meanwhile; that the tables belong together holds as soon as the last one is live.
class ReplicaGroupHandler final : public Handler {
public:
    /// All of one owner, with ApplyUnit::kTransaction. `random` and `logger` must outlive the
    /// handler.
    ReplicaGroupHandler(std::vector<ReplicaDefinition> definitions, Random& random, Logger& logger);
    ~ReplicaGroupHandler() override;

    /// As ReplicaHandler::apply(), for each event's own replica; those of other entities are not
    /// addressed.
    Result<ApplyCounts> apply(Transaction& transaction,
                              std::span<const Event* const> events) override;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// Records the replicas and, if they are new, asks the owner to fill the first; the handler asks
/// for the others in turn. Idempotent. Errors: as ensure_filled().
Result<void> ensure_group_filled(Transaction& transaction,
                                 std::span<const ReplicaDefinition> definitions, Random& random);

}  // namespace instep
