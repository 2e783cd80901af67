#include "instep/log/log.hpp"

#include "log_partitions.hpp"
#include "log_row.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

Result<std::uint64_t> trim_rows(Transaction& transaction, Timestamp before,
                                std::uint32_t rows_max) {
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

}  // namespace

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
                                      log_columns(transaction.dialect())),
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
    INSTEP_TRY_ASSIGN(auto rows,
                      transaction.query("UPDATE instep_log_identity SET epoch = 1 + CASE "
                                        "WHEN epoch > CAST($1 AS BIGINT) THEN epoch "
                                        "ELSE CAST($1 AS BIGINT) END RETURNING epoch",
                                        {std::int64_t{at_least}}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return fail(ErrorCode::kCorrupt,
                    "table instep_log_identity is empty; restore the database from a backup");
    }
    return static_cast<std::uint32_t>(rows->integer(0));
}

Result<void> announce_epoch(Transaction& transaction, std::string_view service,
                            std::span<const std::string> topics) {
    for (const std::string& topic : topics) {
        NewEvent event;
        event.topic = topic;
        event.key = service;
        event.type = "log.epoch_begun";
        event.data = "{}";
        INSTEP_TRY(append(transaction, std::span(&event, 1)));
    }
    return {};
}

Result<std::uint64_t> trim_log(Transaction& transaction, Timestamp before, std::uint32_t rows_max) {
    return transaction.dialect().name() == "postgres"
               ? trim_partitions(transaction, before, rows_max)
               : trim_rows(transaction, before, rows_max);
}

}  // namespace instep
