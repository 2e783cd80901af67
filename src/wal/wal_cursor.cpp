#include "wal_cursor.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>

namespace instep::wal {

namespace {

std::int64_t signed_of(std::uint64_t number) { return static_cast<std::int64_t>(number); }

std::uint64_t unsigned_of(const Cursor& row, std::size_t column) {
    return static_cast<std::uint64_t>(row.integer(column));
}

std::vector<std::uint64_t> parse_ids(std::string_view text) {
    std::vector<std::uint64_t> ids;
    while (!text.empty()) {
        std::uint64_t id = 0;
        std::from_chars(text.data(), text.data() + text.size(), id);
        ids.push_back(id);
        const std::size_t comma = text.find(',');
        text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    }
    return ids;
}

Result<std::int64_t> now_us(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    return now.time_since_epoch().count();
}

}  // namespace

Result<ServerIdentity> server_identity(Connection& connection) {
    INSTEP_TRY_ASSIGN(
        const auto row,
        connection.query("SELECT s.system_identifier, c.timeline_id::bigint, d.oid::bigint "
                         "FROM pg_control_system() s, pg_control_checkpoint() c, pg_database d "
                         "WHERE d.datname = current_database()",
                         {}));
    INSTEP_TRY(row->next());
    return ServerIdentity{row->integer(0), row->integer(1), row->integer(2)};
}

Result<std::uint64_t> written_end(Connection& connection) {
    INSTEP_TRY_ASSIGN(const auto row,
                      connection.query("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint", {}));
    INSTEP_TRY(row->next());
    return unsigned_of(*row, 0);
}

Result<std::optional<WalCursor>> load_cursor(Connection& connection, std::string_view reader) {
    INSTEP_TRY_ASSIGN(
        const auto row,
        connection.query("SELECT slot, system_id, timeline, database_id, begins, position, "
                         "part_lsn, part_index, unseen, ends FROM instep.wal_cursor "
                         "WHERE reader = $1",
                         std::initializer_list<ValueView>{reader}));
    INSTEP_TRY_ASSIGN(const bool found, row->next());
    if (!found) {
        return std::nullopt;
    }
    WalCursor cursor;
    cursor.slot = row->text(0);
    cursor.server = ServerIdentity{row->integer(1), row->integer(2), row->integer(3)};
    cursor.begins = unsigned_of(*row, 4);
    cursor.place = Place{unsigned_of(*row, 5), unsigned_of(*row, 6),
                         static_cast<std::uint32_t>(row->integer(7))};
    cursor.unseen = parse_ids(row->text(8));
    if (!row->is_null(9)) {
        cursor.ends = unsigned_of(*row, 9);
    }
    return cursor;
}

Result<void> begin_cursor(Transaction& transaction, std::string_view reader, std::string_view slot,
                          std::uint64_t position) {
    INSTEP_TRY_ASSIGN(const ServerIdentity server, server_identity(transaction.connection()));
    INSTEP_TRY_ASSIGN(const std::int64_t now, now_us(transaction));
    INSTEP_TRY(remove_cursor(transaction, reader));
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep.wal_cursor (reader, slot, system_id, timeline, database_id, begins, "
        "position, moved_us) VALUES ($1, $2, $3, $4, $5, $6, $6, $7)",
        {reader, slot, server.system_id, server.timeline, server.database_id, signed_of(position),
         now}));
    return {};
}

/// On the disk of this server it is durable enough: on another one positions mean nothing.
Result<std::vector<std::uint64_t>> move_cursor(Transaction& transaction, const CursorMove& move) {
    const std::string unseen = fmt::format("{}", fmt::join(move.unseen, ","));
    INSTEP_TRY_ASSIGN(const std::int64_t now, now_us(transaction));
    INSTEP_TRY_ASSIGN(
        const auto row,
        transaction.query(
            "UPDATE instep.wal_cursor SET position = $2, part_lsn = $3, part_index = $4, "
            "unseen = coalesce((SELECT string_agg(x, ',') FROM "
            "  unnest(string_to_array(nullif($5::text, ''), ',')) x "
            "  WHERE NOT pg_visible_in_snapshot(x::xid8, pg_current_snapshot())), ''), "
            "moved_us = CASE WHEN $10::bigint = 0 OR set_config('synchronous_commit', 'local', "
            "true) "
            "  = 'local' THEN $9::bigint END "
            "WHERE reader = $1 AND position = $6 AND part_lsn = $7 AND part_index = $8 "
            "RETURNING unseen",
            {move.reader, signed_of(move.to.position), signed_of(move.to.part_lsn),
             std::int64_t{move.to.part_index}, std::string_view(unseen),
             signed_of(move.from.position), signed_of(move.from.part_lsn),
             std::int64_t{move.from.part_index}, now,
             std::int64_t{move.flush == Flush::kAtOnce ? 1 : 0}}));
    INSTEP_TRY_ASSIGN(const bool moved, row->next());
    if (!moved) {
        return fail(
            ErrorCode::kFenced,
            fmt::format("another reader moved the cursor {} of the write-ahead log", move.reader));
    }
    return parse_ids(row->text(0));
}

Result<void> end_cursor(Transaction& transaction, std::string_view reader, std::uint64_t position) {
    INSTEP_TRY(transaction.execute("UPDATE instep.wal_cursor SET ends = $2 WHERE reader = $1",
                                   {reader, signed_of(position)}));
    return {};
}

Result<void> remove_cursor(Transaction& transaction, std::string_view reader) {
    INSTEP_TRY(transaction.execute("DELETE FROM instep.wal_cursor WHERE reader = $1", {reader}));
    return {};
}

}  // namespace instep::wal
