#include "instep/log/log.hpp"

#include "log_row.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

Result<LogIdentity> log_identity(Connection& connection) {
    auto rows = connection.query("SELECT incarnation, epoch FROM instep_log_identity", {});
    if (!rows && rows.error().code == ErrorCode::kNotFound) {
        return fail(ErrorCode::kSchemaMismatch,
                    "the database has no log yet; run `instep apply` for this service");
    }
    INSTEP_TRY(rows);
    INSTEP_TRY_ASSIGN(const bool found, (*rows)->next());
    if (!found) {
        return fail(ErrorCode::kCorrupt,
                    "table instep_log_identity is empty; restore the database from a backup");
    }
    return LogIdentity{static_cast<std::uint64_t>((*rows)->integer(0)),
                       static_cast<std::uint32_t>((*rows)->integer(1))};
}

Result<std::vector<Event>> read_stream(Transaction& transaction, std::string_view service,
                                       std::string_view stream, std::uint64_t from,
                                       std::uint32_t count) {
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(transaction.connection()));
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query(fmt::format("SELECT {} FROM instep_log WHERE stream = $1 AND "
                                      "stream_version >= $2 ORDER BY stream_version LIMIT $3",
                                      kLogColumns),
                          {stream, static_cast<std::int64_t>(from), std::int64_t{count}}));
    std::vector<Event> events;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return events;
        }
        events.push_back(read_log_row(*rows, identity, service));
    }
}

Result<std::uint32_t> begin_epoch(Transaction& transaction, std::uint32_t at_least) {
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(transaction.connection()));
    const std::uint32_t epoch = std::max(identity.epoch, at_least) + 1;
    INSTEP_TRY(transaction.execute("UPDATE instep_log_identity SET epoch = $1",
                                   {static_cast<std::int64_t>(epoch)}));
    return epoch;
}

Result<std::uint64_t> trim_log(Transaction& transaction, Timestamp before, std::uint32_t rows_max) {
    // A partition without a cursor has not been read at all, so nothing may go.
    INSTEP_TRY_ASSIGN(
        const std::int64_t trimmed,
        transaction.execute("DELETE FROM instep_log WHERE seq IN ("
                            "  SELECT seq FROM instep_log"
                            "  WHERE seq <= (SELECT min(seq) FROM instep_cursor) AND NOT EXISTS ("
                            "    SELECT 1 FROM instep_cursor GROUP BY reader "
                            "    HAVING count(*) < max(partitions)) AND time_us < $1"
                            "    AND stream IS NULL ORDER BY seq LIMIT $2)",
                            {static_cast<std::int64_t>(before.time_since_epoch().count()),
                             static_cast<std::int64_t>(rows_max)}));
    return static_cast<std::uint64_t>(trimmed);
}

}  // namespace instep
