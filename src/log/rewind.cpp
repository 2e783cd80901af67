#include "instep/log/rewind.hpp"

#include "instep/db/dialect.hpp"
#include "instep/event/version.hpp"
#include "instep/log/log.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

Result<void> refuse_snapshots(const Connection& connection) {
    if (connection.dialect().name() != "postgres") {
        return {};
    }
    return fail(ErrorCode::kUnsupported,
                "a log on PostgreSQL is read once by each reader, for the versions of its events "
                "belong to the reading; give the services a broker that keeps past events "
                "(embedded, Redis or Kafka)");
}

}  // namespace

Result<LogKept> log_kept(Connection& connection, std::string_view topic) {
    INSTEP_TRY(refuse_snapshots(connection));
    INSTEP_TRY_ASSIGN(
        const auto rows,
        connection.query("SELECT min(seq), max(seq), min(time_us), "
                         "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'instep_log'), 0) "
                         "  AS given, (SELECT count(*) FROM instep_log) "
                         "FROM instep_log WHERE topic = $1",
                         std::initializer_list<ValueView>{topic}));
    INSTEP_TRY(rows->next());
    const auto given = static_cast<std::uint64_t>(rows->integer(3));
    LogKept kept{given, given, std::nullopt, static_cast<std::uint64_t>(rows->integer(4)) < given};
    if (!rows->is_null(0)) {
        kept.oldest_seq = static_cast<std::uint64_t>(rows->integer(0));
        kept.newest_seq = static_cast<std::uint64_t>(rows->integer(1));
        kept.oldest = Timestamp{std::chrono::microseconds{rows->integer(2)}};
    }
    return kept;
}

Result<void> rewind_reader(Transaction& transaction, std::string_view reader, std::uint64_t seq) {
    INSTEP_TRY(refuse_snapshots(transaction.connection()));
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(transaction.connection()));
    const std::string confirmed = to_bytes(Version{identity.epoch, seq, 0});
    INSTEP_TRY_ASSIGN(auto rows,
                      transaction.query("SELECT seq FROM instep_cursor WHERE reader = $1 AND "
                                        "partition = 0",
                                        {reader}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return fail(ErrorCode::kNotFound, fmt::format("the log keeps no place for {}", reader));
    }
    if (static_cast<std::uint64_t>(rows->integer(0)) < seq) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{} has not read the log up to event {}", reader, seq));
    }
    rows.reset();
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_cursor SET seq = $2, confirmed = $3 WHERE reader = $1 AND partition = 0",
        {reader, static_cast<std::int64_t>(seq), BlobView{confirmed}}));
    return {};
}

}  // namespace instep
