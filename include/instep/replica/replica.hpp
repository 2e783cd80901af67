// A replica: a read-only table in another service's database, kept in step.
//
// Every row carries the version it reflects, and is written only by something newer; deletes
// leave a tombstone with their version. Duplicates, late events, overlapping backfills and
// replays therefore change nothing, a row never goes back, and a deleted row does not return.
#pragma once

#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/capture/capture.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/db/connection.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace instep {

class Logger;

/// A [[replica]] entry of a service file.
struct ReplicaDefinition {
    /// The service that holds the replica.
    std::string service;

    /// The owner's topic: "iam.user".
    std::string topic;

    /// The local table. Created from the owner's contract if it does not exist.
    std::string table;

    /// Owner's column to local column. Empty: all columns of the contract, under their names.
    /// Must hold the key columns.
    std::vector<std::pair<std::string, std::string>> columns;

    /// kTransaction: by the owner's topic of whole transactions, in one subscription with all
    /// replicas of that owner that are applied so.
    ApplyUnit apply = ApplyUnit::kKey;

    /// What chunks for this replica are addressed to: "data-owner.lookup_users".
    [[nodiscard]] std::string address() const;

    /// The subscription that brings it: its address, or "data-owner.iam.transactions".
    [[nodiscard]] std::string subscription() const;

    /// The topic that is subscribed to: `topic`, or "iam.transactions".
    [[nodiscard]] std::string source_topic() const;

    /// The part of the topic behind the first dot.
    [[nodiscard]] std::string entity() const;

    /// The owner, the part of the topic before the first dot.
    [[nodiscard]] std::string owner() const;

    /// The topic that the owner takes requests from: "iam.requests".
    [[nodiscard]] std::string request_topic() const;
};

/// Where a replica stands.
enum class ReplicaState : std::uint8_t {
    kNew,      ///< Nothing was asked for yet.
    kFilling,  ///< A backfill is under way; rows may be missing.
    kLive,     ///< Filled; follows the owner's changes.
    kRefused,  ///< The owner refused the backfill; `problem` says why.
};

std::string_view to_string(ReplicaState state) noexcept;

/// A replica as its database has it.
struct ReplicaStatus {
    std::string table;
    std::string topic;
    ReplicaState state = ReplicaState::kNew;
    std::string problem;

    /// The backfill that is or was last under way; empty before the first.
    std::string backfill;

    /// Rows that it has brought so far.
    std::uint64_t filled_rows = 0;

    /// The owner's contract as far as known.
    std::optional<Contract> contract;
};

/// Applies a topic to its replica table. Give it to a Consumer of definition.subscription().
class ReplicaHandler final : public Handler {
public:
    /// `random` and `logger` must outlive the handler.
    ReplicaHandler(ReplicaDefinition definition, Random& random, Logger& logger);
    ~ReplicaHandler() override;

    /// Rows, chunks and digests alike. Events before the table is known are ignored as stale:
    /// the backfill that brings the table is newer. A higher epoch than the replica's, and a
    /// newer contract, ask the owner for a new backfill, in the same transaction.
    ///
    /// Errors: kRejected if a constraint of the table says no; kCorrupt for data that is not
    /// what the contract says; kSchemaMismatch if the local table does not fit.
    Result<ApplyCounts> apply(Transaction& transaction,
                              std::span<const Event* const> events) override;

    /// A backfill brings what a replica lacks.
    [[nodiscard]] bool takes_replays() const override { return false; }
    [[nodiscard]] bool may_be_seen_early() const override { return true; }
    [[nodiscard]] bool carries_state() const override { return true; }

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// What has to change in the local database for this replica: the version column that an
/// existing table lacks, or the whole table when the owner's contract is known (`contract`
/// may be null); and that it is new again when its mapping of columns is another. Changes
/// nothing. Errors: kSchemaMismatch if an existing table lacks a mapped
/// column, has another key, or rows that no replica brought; those of Connection.
Result<std::vector<SchemaChange>> plan_replica(Connection& connection,
                                               const ReplicaDefinition& definition,
                                               const Contract* contract);

/// Records the replica and, if it is new, asks the owner to fill it. Idempotent. Returns the
/// backfill's id if one was asked for.
Result<std::optional<std::string>> ensure_filled(Transaction& transaction,
                                                 const ReplicaDefinition& definition,
                                                 Random& random);

/// Asks the owner for all rows again, whatever the state. Returns the backfill's id.
Result<std::string> request_backfill(Transaction& transaction, const ReplicaDefinition& definition,
                                     Random& random);

/// All replicas of this database by table. Errors: those of Connection.
Result<std::vector<ReplicaStatus>> list_replicas(Connection& connection);

/// Why one row of a replica is as it is.
struct RowExplanation {
    /// The row's columns and values as text, `instep_version` left out; empty without a row.
    std::vector<std::pair<std::string, std::string>> row;

    /// The version that the row reflects.
    std::optional<Version> version;

    /// The version at which the key was deleted, if it was.
    std::optional<Version> deleted_at;

    /// Events that wait behind a failure, and why.
    std::uint64_t parked_events = 0;
    std::string parked_because;
};

/// `key` as in Event::key. Errors: kNotFound for an unknown replica; those of Connection.
Result<RowExplanation> explain_row(Connection& connection, const ReplicaDefinition& definition,
                                   std::string_view key);

/// Forgets tombstones older than `before`, which must be older than anything that a broker
/// may still deliver; at most `rows_max`. Returns how many.
Result<std::uint64_t> trim_tombstones(Transaction& transaction, Timestamp before,
                                      std::uint32_t rows_max);

}  // namespace instep
