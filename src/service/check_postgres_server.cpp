#include "check_postgres.hpp"
#include "instep/db/postgres/database.hpp"
#include "rows.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cstdlib>

namespace instep {

namespace {

using namespace std::chrono_literals;

constexpr std::string_view kServer = "server";

/// Clocks that differ by more are worth a warning.
constexpr std::chrono::microseconds kClockDifferenceMax = 2s;

/// Long transactions that are listed.
constexpr int kTransactionsShownMax = 10;

constexpr std::string_view kSettings =
    "SELECT current_setting('server_version'), current_setting('fsync') = 'on', "
    "current_setting('full_page_writes') = 'on', current_setting('synchronous_commit'), "
    "current_setting('wal_level'), current_setting('max_replication_slots')::bigint, "
    "current_setting('max_wal_senders')::bigint, (SELECT count(*) FROM pg_replication_slots), "
    "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'), "
    "(SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user), "
    "quote_ident(current_user)";

constexpr std::string_view kReplicationRoles =
    "SELECT CASE WHEN r.oid IS NULL THEN format('ALTER DATABASE %I', current_database()) "
    "    WHEN d.oid IS NULL THEN format('ALTER ROLE %I', r.rolname) "
    "    ELSE format('ALTER ROLE %I IN DATABASE %I', r.rolname, d.datname) END, "
    "  coalesce('role ' || r.rolname, 'every role') "
    "FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole "
    "LEFT JOIN pg_database d ON d.oid = s.setdatabase "
    "WHERE (s.setdatabase = 0 OR d.datname = current_database()) "
    "AND 'session_replication_role=replica' = ANY (s.setconfig)";

constexpr std::string_view kLongTransactions =
    "SELECT pid::bigint, coalesce(usename::text, ''), coalesce(state, ''), "
    "  extract(epoch FROM clock_timestamp() - xact_start)::bigint "
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend' "
    "AND xact_start < clock_timestamp() - make_interval(secs => $1::bigint) "
    "ORDER BY xact_start LIMIT $2";

constexpr std::string_view kPreparedTransactions =
    "SELECT gid, owner::text, extract(epoch FROM clock_timestamp() - prepared)::bigint, "
    "  format('ROLLBACK PREPARED %L; or COMMIT PREPARED %L;', gid, gid) "
    "FROM pg_prepared_xacts WHERE database = current_database() "
    "AND prepared < clock_timestamp() - make_interval(secs => $1::bigint) "
    "ORDER BY prepared LIMIT $2";

class ServerLook {
public:
    ServerLook(Connection& connection, const ServerCheck& check, Findings& findings)
        : connection_(connection), check_(check), findings_(findings) {}

    Result<void> look_at_settings() {
        return for_each_row(connection_, kSettings, {}, [this](const Cursor& row) {
            findings_.note(std::string(kServer), fmt::format("PostgreSQL {}", row.text(0)));
            look_at_durability(row);
            look_at_wal(row);
        });
    }

    Result<void> look_at_pooler() {
        INSTEP_TRY_ASSIGN(const bool is_pooled, is_behind_pooler(check_.url));
        if (is_pooled && check_.capture == CaptureBy::kWal) {
            findings_.problem(
                std::string(kServer),
                "a transaction-mode pooler is in between, which passes no replication",
                "name the server itself in `database`");
        } else if (is_pooled) {
            findings_.note(std::string(kServer),
                           "a transaction-mode pooler is in between: it works, and statements are "
                           "prepared anew each time",
                           "name the server itself in `database` if speed matters");
        }
        return {};
    }

    Result<void> look_at_clock(const Clock& clock) {
        const Timestamp before = clock.now();
        Timestamp server;
        INSTEP_TRY(for_each_row(connection_,
                                "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
                                {}, [&](const Cursor& row) {
                                    server = Timestamp(std::chrono::microseconds(row.integer(0)));
                                }));
        const auto ahead = server - (before + (clock.now() - before) / 2);
        if (std::chrono::abs(ahead) > kClockDifferenceMax) {
            findings_.warning(
                std::string(kServer),
                fmt::format(
                    "its clock is {} s {} this machine's: ages and lags are shown wrong "
                    "by that much",
                    std::chrono::abs(std::chrono::round<std::chrono::seconds>(ahead)).count(),
                    ahead > 0us ? "ahead of" : "behind"),
                "let NTP set both clocks");
        }
        return {};
    }

    Result<void> look_at_replication_roles() {
        return for_each_row(connection_, kReplicationRoles, {}, [this](const Cursor& row) {
            findings_.warning(
                "database",
                fmt::format("sessions of {} run with session_replication_role = replica: no "
                            "trigger fires, so their changes are not captured",
                            row.text(1)),
                fmt::format("{} RESET session_replication_role;", row.text(0)));
        });
    }

    Result<void> look_at_transactions() {
        const std::int64_t age = check_.transaction_age_max.count();
        INSTEP_TRY(for_each_row(
            connection_, kLongTransactions, {age, std::int64_t{kTransactionsShownMax}},
            [this](const Cursor& row) {
                findings_.warning(
                    "database",
                    fmt::format("process {} of user {} has had a transaction open for {} s ({}): "
                                "its events wait for its end, and nothing is vacuumed meanwhile",
                                row.integer(0), row.text(1), row.integer(3), row.text(2)),
                    fmt::format("SELECT pg_terminate_backend({});", row.integer(0)));
            }));
        INSTEP_TRY(for_each_row(
            connection_, kPreparedTransactions, {age, std::int64_t{kTransactionsShownMax}},
            [this](const Cursor& row) {
                findings_.warning(
                    "database",
                    fmt::format("transaction {} of user {} was prepared {} s ago: its locks and "
                                "its events wait for somebody to end it",
                                row.text(0), row.text(1), row.integer(2)),
                    std::string(row.text(3)));
            }));
        return for_each_row(connection_,
                            "SELECT format('GRANT pg_read_all_stats TO %I;', current_user) "
                            "WHERE NOT pg_has_role('pg_read_all_stats', 'USAGE')",
                            {}, [this](const Cursor& row) {
                                findings_.note(
                                    "database",
                                    "long transactions of other users cannot be seen by this one",
                                    std::string(row.text(0)));
                            });
    }

    /// Rows there go only when all of them are read, and can never be dropped as a partition.
    Result<void> look_at_default_partition() {
        bool is_readable = false;
        INSTEP_TRY(for_each_row(
            connection_,
            "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = 'instep' AND c.relname = 'log_passing_default' "
            "AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')",
            {}, [&](const Cursor&) { is_readable = true; }));
        if (!is_readable) {
            return {};
        }
        return for_each_row(
            connection_,
            "SELECT count(*) FROM (SELECT 1 FROM instep.log_passing_default LIMIT 1000) AS r "
            "HAVING count(*) > 0",
            {}, [this](const Cursor& row) {
                findings_.warning(
                    "log",
                    fmt::format("{}{} events are in the default partition, because none was made "
                                "ahead for them; they stay until all of them are read",
                                row.integer(0), row.integer(0) == 1000 ? " or more" : ""),
                    "keep `instep run` running: it makes partitions ahead, and empties this one");
            });
    }

private:
    void look_at_durability(const Cursor& row) {
        if (row.integer(1) == 0) {
            findings_.warning(std::string(kServer),
                              "fsync is off: a crash of the machine can destroy the database",
                              "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();");
        }
        if (row.integer(2) == 0) {
            findings_.warning(std::string(kServer),
                              "full_page_writes is off: a crash of the machine can leave pages "
                              "half-written",
                              "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf();");
        }
        if (row.text(3) == "off") {
            findings_.warning(
                std::string(kServer),
                "synchronous_commit is off: a crash can take back commits whose events other "
                "services already have",
                "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf(); or ALTER ROLE "
                "or ALTER DATABASE, where it was set for one");
        }
    }

    void look_at_wal(const Cursor& row) {
        const std::string found = fmt::format(
            "wal_level is {}, {} of {} replication slots and {} of {} WAL senders are in use",
            row.text(4), row.integer(7), row.integer(5), row.integer(8), row.integer(6));
        if (check_.capture == CaptureBy::kTriggers) {
            findings_.note(std::string(kServer), found + "; triggers need none of it");
            return;
        }
        findings_.note(std::string(kServer), found);
        if (row.text(4) != "logical") {
            findings_.problem(
                std::string(kServer),
                fmt::format("wal_level is {}: changes cannot be read from the WAL", row.text(4)),
                "ALTER SYSTEM SET wal_level = logical; then restart the server");
        }
        if (row.integer(7) >= row.integer(5)) {
            findings_.warning(std::string(kServer), "every replication slot is taken",
                              fmt::format("ALTER SYSTEM SET max_replication_slots = {}; then "
                                          "restart the server",
                                          row.integer(5) + 5));
        }
        if (row.integer(8) >= row.integer(6)) {
            findings_.warning(std::string(kServer), "every WAL sender is taken",
                              fmt::format("ALTER SYSTEM SET max_wal_senders = {}; then restart "
                                          "the server",
                                          row.integer(6) + 5));
        }
        if (row.integer(9) == 0) {
            findings_.problem(std::string(kServer),
                              fmt::format("user {} may not read the WAL", row.text(10)),
                              fmt::format("ALTER ROLE {} REPLICATION;", row.text(10)));
        }
    }

    Connection& connection_;
    const ServerCheck& check_;
    Findings& findings_;
};

}  // namespace

Result<void> look_at_server(Connection& connection, const ServerCheck& check, const Clock& clock,
                            Findings& findings) {
    ServerLook look(connection, check, findings);
    INSTEP_TRY(look.look_at_settings());
    INSTEP_TRY(look.look_at_pooler());
    INSTEP_TRY(look.look_at_clock(clock));
    INSTEP_TRY(look.look_at_replication_roles());
    INSTEP_TRY(look.look_at_transactions());
    return look.look_at_default_partition();
}

}  // namespace instep
