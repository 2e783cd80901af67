#include "instep/lease/lease.hpp"

#include "instep/db/dialect.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

/// Until when a lease is held that its holder gave up.
constexpr std::int64_t kGivenUp = 0;

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

std::string literal(std::string_view text) {
    std::string quoted = "'";
    for (const char c : text) {
        quoted.append(c == '\'' ? 2 : 1, c);
    }
    return quoted + "'";
}

}  // namespace

Result<Lease> Lease::create(LeaseOptions options) {
    using namespace std::chrono_literals;
    if (options.name.empty() || options.owner.empty() || options.duration < 1s ||
        options.duration > 300s) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("lease \"{}\" of \"{}\" for {} ms: a name, an owner and 1 to 300 s "
                                "are needed",
                                options.name, options.owner, options.duration.count()));
    }
    return Lease(std::move(options));
}

Result<bool> Lease::hold(Connection& connection) {
    INSTEP_TRY_ASSIGN(const Timestamp now, connection.now());
    if (held_ && now < renew_at_) {
        return true;
    }
    if (!held_) {
        // A plain read first: waiting for somebody else's lease must not write.
        INSTEP_TRY_ASSIGN(
            auto rows,
            connection.query("SELECT owner, until_us FROM instep_lease WHERE name = $1",
                             std::initializer_list<ValueView>{std::string_view(options_.name)}));
        INSTEP_TRY_ASSIGN(const bool is_known, rows->next());
        if (is_known && rows->text(0) != options_.owner && rows->integer(1) > micros(now)) {
            return false;
        }
        was_abandoned_ = is_known && rows->integer(1) != kGivenUp;
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    if (options_.condition) {
        INSTEP_TRY(options_.condition(transaction));
    }
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query(
            "INSERT INTO instep_lease (name, owner, epoch, until_us) VALUES ($1, $2, 1, $4) "
            "ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, "
            "  until_us = excluded.until_us, epoch = instep_lease.epoch + "
            "    CASE WHEN instep_lease.owner = excluded.owner AND $5 = instep_lease.epoch "
            "         THEN 0 ELSE 1 END "
            "WHERE instep_lease.until_us <= $3 OR instep_lease.owner = excluded.owner "
            "RETURNING epoch",
            {std::string_view(options_.name), std::string_view(options_.owner), micros(now),
             micros(now + options_.duration), static_cast<std::int64_t>(held_ ? epoch_ : 0)}));
    INSTEP_TRY_ASSIGN(const bool taken, rows->next());
    const auto epoch = taken ? static_cast<std::uint64_t>(rows->integer(0)) : 0;
    rows.reset();
    INSTEP_TRY(transaction.commit());
    held_ = taken;
    epoch_ = epoch;
    renew_at_ = now + options_.duration / 2;
    return held_;
}

Result<void> Lease::check(Transaction& transaction) const {
    // Locked, so that whoever takes over waits until this transaction has ended.
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query(fmt::format("SELECT owner, epoch FROM instep_lease WHERE name = $1{}",
                                      transaction.dialect().row_lock(RowLock::kShared)),
                          {std::string_view(options_.name)}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!held_ || !found || rows->text(0) != options_.owner ||
        static_cast<std::uint64_t>(rows->integer(1)) != epoch_) {
        return fail(ErrorCode::kFenced,
                    fmt::format("{} lost the lease {}{}", options_.owner, options_.name,
                                found ? fmt::format(" to {}", rows->text(0)) : ""));
    }
    return {};
}

Result<void> Lease::require(Transaction& transaction) const {
    if (!held_ || transaction.dialect().name() != "postgres") {
        return check(transaction);
    }
    INSTEP_TRY(
        transaction.execute(fmt::format("SELECT instep.require_lease({}, {}, {})",
                                        literal(options_.name), literal(options_.owner), epoch_)));
    return {};
}

Result<void> Lease::release(Connection& connection) {
    if (!held_) {
        return {};
    }
    held_ = false;
    // The row stays, so that the next holder's epoch is higher.
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_lease SET until_us = $4 WHERE name = $1 AND owner = $2 AND epoch = $3",
        {std::string_view(options_.name), std::string_view(options_.owner),
         static_cast<std::int64_t>(epoch_), kGivenUp}));
    return transaction.commit();
}

Result<void> revoke_leases(Transaction& transaction) {
    INSTEP_TRY(
        transaction.execute("UPDATE instep_lease SET owner = '', until_us = 0, epoch = epoch + 1"));
    return {};
}

Result<std::vector<LeaseRow>> list_leases(Connection& connection) {
    INSTEP_TRY_ASSIGN(
        auto rows, connection.query(
                       "SELECT name, owner, epoch, until_us FROM instep_lease ORDER BY name", {}));
    std::vector<LeaseRow> leases;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return leases;
        }
        leases.push_back(LeaseRow{std::string(rows->text(0)), std::string(rows->text(1)),
                                  static_cast<std::uint64_t>(rows->integer(2)),
                                  Timestamp{std::chrono::microseconds{rows->integer(3)}}});
    }
}

}  // namespace instep
