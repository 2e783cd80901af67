#include "instep/log/restored_log.hpp"

namespace instep {

namespace {

/// Where the log is, and whether it says so of itself.
constexpr std::string_view kIsForeign =
    "SELECT NOT (i.system_id = s.system_identifier AND i.database_id = d.oid::bigint "
    "  AND i.log_id = 'instep.log'::regclass::oid::bigint) "
    "FROM instep.log_identity i, pg_control_system() s, pg_database d "
    "WHERE d.datname = current_database()";

Result<bool> is_foreign(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(const auto rows, transaction.query(kIsForeign));
    INSTEP_TRY(rows->next());
    return rows->integer(0) != 0;
}

}  // namespace

Result<void> restamp_restored_log(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(bool foreign, is_foreign(transaction));
    if (!foreign) {
        return {};
    }
    // Behind this lock no number is in flight: what is there, is below the sequence's value.
    // `open_end` stays: `base` saw no row above it.
    INSTEP_TRY(transaction.execute("LOCK TABLE instep.log IN SHARE MODE"));
    INSTEP_TRY_ASSIGN(foreign, is_foreign(transaction));
    if (!foreign) {
        return {};
    }
    INSTEP_TRY(transaction.execute(
        "WITH l AS MATERIALIZED (SELECT last_value FROM instep.log_seq) "
        "UPDATE instep.cursor SET batch = batch + 1, open = pg_current_snapshot(), "
        "open_seq = l.last_value, open_waits = coalesce((SELECT string_agg("
        "  x || ':' || l.last_value, ',') FROM pg_snapshot_xip(pg_current_snapshot()) x), ''), "
        "after_seq = 0, after_index = 0, restored_end = l.last_value, past_seq = NULL FROM l"));
    INSTEP_TRY(transaction.execute(
        "UPDATE instep.log_identity SET "
        "incarnation = ('x' || substr(md5(gen_random_uuid()::text), 1, 16))::bit(64)::bigint, "
        "system_id = s.system_identifier, database_id = d.oid::bigint, "
        "log_id = 'instep.log'::regclass::oid::bigint "
        "FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()"));
    return {};
}

}  // namespace instep
