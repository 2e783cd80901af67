#include "instep/log/handover.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

/// What is visible now and, of each transaction that is running, that its rows will have higher
/// numbers than any so far: no number is in flight.
constexpr std::string_view kNow =
    "WITH n AS MATERIALIZED (SELECT pg_current_snapshot() AS snapshot, s.last_value AS seq, "
    "coalesce(("
    "  SELECT string_agg(x || ':' || s.last_value, ',') "
    "  FROM pg_snapshot_xip(pg_current_snapshot()) x), '') AS waits FROM instep.log_seq s) ";

Result<std::int64_t> now_us(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    return now.time_since_epoch().count();
}

}  // namespace

Result<void> lock_log(Transaction& transaction) {
    return transaction.connection().execute_script("LOCK TABLE instep.log IN SHARE MODE");
}

Result<void> end_snapshot_reading(Transaction& transaction, std::string_view reader) {
    INSTEP_TRY_ASSIGN(const std::int64_t now, now_us(transaction));
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep.cursor (reader, partition, partitions, base, base_seq, moved_us) "
        "VALUES ($1, 0, 1, '1:1:', 0, $2) ON CONFLICT (reader, partition) DO NOTHING",
        {reader, now}));
    INSTEP_TRY_ASSIGN(
        const std::int64_t ended,
        transaction.execute(
            fmt::format("{} UPDATE instep.cursor SET last = n.snapshot, last_seq = n.seq, "
                        "last_waits = n.waits FROM n "
                        "WHERE reader = $1 AND partition = 0 AND partitions = 1",
                        kNow),
            {reader}));
    if (ended != 1) {
        return fail(ErrorCode::kConfigInvalid,
                    "the service has run with several partitions, and capture from the write-ahead "
                    "log needs one; keep capture = \"triggers\"");
    }
    return {};
}

Result<bool> snapshot_reading_has_ended(Connection& connection, std::string_view reader) {
    INSTEP_TRY_ASSIGN(const auto rows,
                      connection.query("SELECT 1 FROM instep.cursor WHERE reader = $1 AND open IS "
                                       "NULL AND base::text = last::text",
                                       std::initializer_list<ValueView>{reader}));
    return rows->next();
}

Result<void> begin_snapshot_reading(Transaction& transaction, std::string_view reader,
                                    std::uint64_t batch) {
    INSTEP_TRY(transaction.execute(
        fmt::format("{} UPDATE instep.cursor SET base = n.snapshot, base_seq = n.seq, "
                    "base_waits = n.waits, open = NULL, restored_end = NULL, last = NULL, "
                    "batch = greatest(batch, $2) + 1 FROM n WHERE reader = $1",
                    kNow),
        {reader, static_cast<std::int64_t>(batch)}));
    return {};
}

Result<void> pass_in_log(Transaction& transaction, std::string_view reader, const Snapshot& seen,
                         std::uint64_t seq) {
    INSTEP_TRY_ASSIGN(const auto row,
                      transaction.query("SELECT base::text, base_seq, base_waits FROM "
                                        "instep.cursor WHERE reader = $1",
                                        {reader}));
    INSTEP_TRY(row->next());
    Horizon base;
    INSTEP_TRY_ASSIGN(base.snapshot, parse_snapshot(row->text(0)));
    base.seq = static_cast<std::uint64_t>(row->integer(1));
    INSTEP_TRY_ASSIGN(base.waits, parse_waits(row->text(2)));
    const Horizon passed = base.advance(seen, seq);
    const std::string waits = to_text(passed.waits);
    INSTEP_TRY_ASSIGN(const std::int64_t now, now_us(transaction));
    INSTEP_TRY(transaction.execute(
        "UPDATE instep.cursor SET base = $2::pg_snapshot, base_seq = $3, base_waits = $4, "
        "last = $2::pg_snapshot, last_seq = $3, last_waits = $4, moved_us = $5 WHERE reader = $1",
        {reader, std::string_view(passed.snapshot.text), static_cast<std::int64_t>(passed.seq),
         std::string_view(waits), now}));
    return {};
}

}  // namespace instep
