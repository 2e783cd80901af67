#include "instep/log/rewind.hpp"

#include "instep/db/dialect.hpp"
#include "instep/event/version.hpp"
#include "instep/log/log.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

/// The oldest and the newest row of topic $1, the last number that was given, and whether events
/// have been deleted.
constexpr std::string_view kKeptOnSqlite =
    "SELECT min(seq), max(seq), min(time_us), "
    "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'instep_log'), 0), "
    "(SELECT count(*) FROM instep_log) < "
    "  coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'instep_log'), 0) "
    "FROM instep_log WHERE topic = $1";

/// Numbers have gaps here. Deleted are whole partitions, from the first on, which begins nowhere.
constexpr std::string_view kKeptOnPostgres =
    "SELECT min(seq), max(seq), min(time_us), (SELECT last_value FROM instep.log_seq), "
    "NOT EXISTS (SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "  WHERE i.inhparent = 'instep.log_passing'::regclass "
    "  AND pg_get_expr(c.relpartbound, c.oid) LIKE '%FROM (MINVALUE)%') "
    "FROM instep.log WHERE topic = $1";

bool reads_by_snapshot(const Connection& connection) {
    return connection.dialect().name() == "postgres";
}

std::unexpected<Error> no_place(std::string_view reader) {
    return fail(ErrorCode::kNotFound, fmt::format("the log keeps no place for {}", reader));
}

std::unexpected<Error> not_read(std::string_view reader, std::uint64_t seq) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} has not read the log up to event {}", reader, seq));
}

Result<std::uint64_t> rewind_sequence(Transaction& transaction, std::string_view reader,
                                      std::uint64_t seq) {
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(transaction.connection()));
    const std::string confirmed = to_bytes(Version{identity.epoch, seq, 0});
    INSTEP_TRY_ASSIGN(auto rows,
                      transaction.query("SELECT seq FROM instep_cursor WHERE reader = $1 AND "
                                        "partition = 0",
                                        {reader}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return no_place(reader);
    }
    const auto read = static_cast<std::uint64_t>(rows->integer(0));
    if (read < seq) {
        return not_read(reader, seq);
    }
    rows.reset();
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_cursor SET seq = $2, confirmed = $3 WHERE reader = $1 AND partition = 0",
        {reader, static_cast<std::int64_t>(seq), BlobView{confirmed}}));
    return read;
}

/// The cursor stays where it is: its snapshots say which rows are to be read once more.
Result<std::uint64_t> rewind_snapshots(Transaction& transaction, std::string_view reader,
                                       std::uint64_t seq) {
    // Whoever trims holds this row, and has looked at the cursors before.
    INSTEP_TRY(transaction.query("SELECT 1 FROM instep.log_identity FOR SHARE"));
    INSTEP_TRY_ASSIGN(auto rows,
                      transaction.query("SELECT open_end, restored_end FROM instep.cursor "
                                        "WHERE reader = $1 AND partition = 0 FOR UPDATE",
                                        {reader}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return no_place(reader);
    }
    const auto read = static_cast<std::uint64_t>(rows->integer(0));
    if (!rows->is_null(1)) {
        return fail(ErrorCode::kConflict,
                    fmt::format("{} is still to read what its log was restored with; ask again "
                                "when it has caught up",
                                reader));
    }
    if (read < seq) {
        return not_read(reader, seq);
    }
    rows.reset();
    INSTEP_TRY(transaction.execute(
        "UPDATE instep.cursor SET past_seq = $2 WHERE reader = $1 AND partition = 0",
        {reader, static_cast<std::int64_t>(seq)}));
    return read;
}

}  // namespace

Result<LogKept> log_kept(Connection& connection, std::string_view topic) {
    INSTEP_TRY_ASSIGN(
        const auto rows,
        connection.query(reads_by_snapshot(connection) ? kKeptOnPostgres : kKeptOnSqlite,
                         std::initializer_list<ValueView>{topic}));
    INSTEP_TRY(rows->next());
    const auto given = static_cast<std::uint64_t>(rows->integer(3));
    LogKept kept{given, given, std::nullopt, rows->integer(4) != 0};
    if (!rows->is_null(0)) {
        kept.oldest_seq = static_cast<std::uint64_t>(rows->integer(0));
        kept.newest_seq = static_cast<std::uint64_t>(rows->integer(1));
        kept.oldest = Timestamp{std::chrono::microseconds{rows->integer(2)}};
    }
    return kept;
}

Result<std::uint64_t> rewind_reader(Transaction& transaction, std::string_view reader,
                                    std::uint64_t seq) {
    return reads_by_snapshot(transaction.connection()) ? rewind_snapshots(transaction, reader, seq)
                                                       : rewind_sequence(transaction, reader, seq);
}

Result<std::optional<std::uint64_t>> rewound_to(Connection& connection, std::string_view reader) {
    if (!reads_by_snapshot(connection)) {
        return std::nullopt;
    }
    INSTEP_TRY_ASSIGN(const auto rows,
                      connection.query("SELECT past_seq FROM instep.cursor WHERE reader = $1 AND "
                                       "partition = 0 AND past_seq IS NOT NULL",
                                       std::initializer_list<ValueView>{reader}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    return found ? std::optional(static_cast<std::uint64_t>(rows->integer(0))) : std::nullopt;
}

}  // namespace instep
