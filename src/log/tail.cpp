#include "instep/log/tail.hpp"

#include "log_row.hpp"

#include <fmt/format.h>

namespace instep {

Result<LogSlice> read_log(Connection& connection, std::string_view service, std::uint64_t after,
                          std::uint32_t count) {
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(connection));
    INSTEP_TRY_ASSIGN(Transaction snapshot, Transaction::begin(connection, TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(
        auto rows,
        snapshot.query(fmt::format("SELECT {} FROM instep_log WHERE seq > $1 ORDER BY seq LIMIT $2",
                                   log_columns(snapshot.dialect())),
                       {static_cast<std::int64_t>(after), std::int64_t{count}}));
    LogSlice slice{{}, after};
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return slice;
        }
        slice.end = static_cast<std::uint64_t>(rows->integer(kLogColumnSeq));
        slice.events.push_back(TopicEvent{std::string(rows->text(kLogColumnTopic)),
                                          read_log_row(*rows, identity, service)});
    }
}

Result<std::uint64_t> log_end(Connection& connection) {
    INSTEP_TRY(log_identity(connection));
    INSTEP_TRY_ASSIGN(auto rows,
                      connection.query("SELECT coalesce(max(seq), 0) FROM instep_log", {}));
    INSTEP_TRY(rows->next());
    return static_cast<std::uint64_t>(rows->integer(0));
}

}  // namespace instep
