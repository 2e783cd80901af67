// One holder at a time, by a database row with an epoch.
//
// A holder that was paused past its lease finds out in its next transaction: check() reads
// the row inside the caller's transaction, so that work of a former holder never commits.
// The row is judged by the database's own clock.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace instep {

struct LeaseOptions {
    /// What is leased, such as "relay/0".
    std::string name;

    /// Who asks; unique among all processes that may ask.
    std::string owner;

    /// How long a holder that fell silent keeps the lease, 1 to 300 s. Shorter: quicker
    /// takeover, more writes.
    std::chrono::milliseconds duration{10'000};

    /// What else must hold for the lease to be taken or renewed; kFenced if it does not. Whoever
    /// makes it untrue revokes the leases in the same transaction. Empty: nothing.
    std::function<Result<void>(Transaction&)> condition{};
};

/// For one thread at a time.
class Lease {
public:
    /// Errors: kInvalidArgument for an empty name or owner or a duration out of bounds.
    static Result<Lease> create(LeaseOptions options);

    /// Takes the lease if it is free or expired, or renews it when half of it has passed.
    /// Returns true while it is held. Writes only when there is something to change. Errors:
    /// kFenced if the condition does not hold; those of Connection.
    Result<bool> hold(Connection& connection);

    /// Errors: kFenced if this owner does not hold the lease in its epoch; those of Connection.
    Result<void> check(Transaction& transaction) const;

    /// As check(), but where that spares a round trip the transaction's next statement, or its
    /// commit, fails in place of this call. For transactions that commit, or roll back for good.
    Result<void> require(Transaction& transaction) const;

    /// Gives the lease up so that another may take it at once. No effect if not held.
    Result<void> release(Connection& connection);

    /// Forgets that it was held, once somebody said kFenced: the next hold() asks anew.
    void lose() noexcept { held_ = false; }

    [[nodiscard]] bool held() const noexcept { return held_; }

    /// Whoever held it before neither gave it up nor kept it: that process may have ended in the
    /// middle of its work. Meaningful while held.
    [[nodiscard]] bool was_abandoned() const noexcept { return was_abandoned_; }

    /// Rises with every change of holder. Meaningful while held.
    [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }

private:
    explicit Lease(LeaseOptions options) : options_(std::move(options)) {}

    LeaseOptions options_;
    bool held_ = false;
    bool was_abandoned_ = false;
    std::uint64_t epoch_ = 0;
    Timestamp renew_at_{};
};

/// A lease as the database has it.
struct LeaseRow {
    std::string name;
    std::string owner;
    std::uint64_t epoch = 0;
    Timestamp until{};
};

/// Ends all leases: what their holders have not committed by then never will be, and whoever takes
/// one again is asked for its condition. Errors: those of Connection.
Result<void> revoke_leases(Transaction& transaction);

/// All leases by name, held or expired. Errors: those of Connection.
Result<std::vector<LeaseRow>> list_leases(Connection& connection);

}  // namespace instep
