#include "check_postgres.hpp"
#include "rows.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace instep {

namespace {

/// As Dialect::describe_table() finds it. $1 is the name as a service file has it.
constexpr std::string_view kFindTable =
    "SELECT c.oid::bigint, c.oid::regclass::text "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p') AND CASE WHEN strpos($1::text, '.') = 0 "
    "THEN c.relname = $1::text AND pg_table_is_visible(c.oid) "
    "ELSE n.nspname = left($1::text, strpos($1::text, '.') - 1) "
    "AND c.relname = substr($1::text, strpos($1::text, '.') + 1) END";

constexpr std::string_view kOwnPlace =
    "SELECT current_user::text, current_database()::text, "
    "  has_database_privilege(current_database(), 'CREATE'), n.oid IS NOT NULL, "
    "  coalesce(pg_get_userbyid(n.nspowner)::text, ''), "
    "  coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE'), "
    "    false), "
    "  coalesce(pg_get_userbyid(l.relowner)::text, ''), "
    "  coalesce(pg_has_role(l.relowner, 'USAGE'), true), "
    "  current_setting('search_path') LIKE '\"$user\"%', "
    "  format('CREATE SCHEMA instep AUTHORIZATION %I;', current_user), "
    "  format('GRANT USAGE, CREATE ON SCHEMA instep TO %I;', current_user), "
    "  format('GRANT %I TO %I;', coalesce(pg_get_userbyid(l.relowner), ''), current_user), "
    "  format('ALTER ROLE %I IN DATABASE %I SET search_path = public;', current_user, "
    "    current_database()) "
    "FROM (SELECT 1) AS one LEFT JOIN pg_namespace n ON n.nspname = 'instep' "
    "LEFT JOIN pg_class l ON l.relnamespace = n.oid AND l.relname = 'log'";

constexpr std::string_view kPublishedTable =
    "SELECT current_user::text, pg_get_userbyid(c.relowner)::text, "
    "  pg_has_role(c.relowner, 'USAGE'), has_schema_privilege(n.oid, 'USAGE'), n.nspname::text, "
    "  EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid "
    "    AND t.tgname LIKE '#instep\\_capture\\_%'), "
    "  format('GRANT %I TO %I;', pg_get_userbyid(c.relowner), current_user), "
    "  format('GRANT USAGE ON SCHEMA %I TO %I;', n.nspname, current_user), "
    "  format('GRANT SELECT ON %s TO %I;', c.oid::regclass, current_user) "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::bigint::oid";

constexpr std::string_view kHiddenColumns =
    "SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = $1::bigint::oid "
    "AND a.attnum > 0 AND NOT a.attisdropped "
    "AND NOT has_column_privilege(a.attrelid, a.attnum, 'SELECT') ORDER BY a.attnum";

constexpr std::string_view kReplicaTable =
    "SELECT current_user::text, right_name, "
    "  format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I;', $1::bigint::oid::regclass, "
    "    current_user) "
    "FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS right_name "
    "WHERE NOT has_table_privilege($1::bigint::oid, right_name)";

/// Where a table that does not exist would be made; $1 is its schema, or empty.
constexpr std::string_view kPlaceForReplica =
    "SELECT current_user::text, p.name, n.oid IS NOT NULL, "
    "  coalesce(has_schema_privilege(n.oid, 'CREATE'), false), "
    "  format('CREATE SCHEMA %I AUTHORIZATION %I;', p.name, current_user), "
    "  format('GRANT USAGE, CREATE ON SCHEMA %I TO %I;', p.name, current_user) "
    "FROM (SELECT CASE WHEN $1::text = '' THEN coalesce(current_schema()::text, 'public') "
    "    ELSE $1::text END AS name) AS p LEFT JOIN pg_namespace n ON n.nspname = p.name";

class RightsLook {
public:
    RightsLook(Connection& connection, Findings& findings)
        : connection_(connection), findings_(findings) {}

    Result<void> look_at_own_place() {
        return for_each_row(connection_, kOwnPlace, {}, [this](const Cursor& row) {
            const std::string user(row.text(0));
            const bool is_there = row.integer(3) != 0;
            if (user == "instep" && row.integer(8) != 0) {
                findings_.problem("database",
                                  "the user is called instep, as Instep's own schema is, and has "
                                  "it first in its search path",
                                  std::string(row.text(12)));
            }
            if (!is_there && row.integer(2) == 0) {
                findings_.problem(
                    "database",
                    fmt::format("user {} may not make the schema instep in database {}", user,
                                row.text(1)),
                    std::string(row.text(9)));
            } else if (is_there && row.integer(5) == 0) {
                findings_.problem("schema instep",
                                  fmt::format("belongs to {}, and user {} may not use it and make "
                                              "tables in it",
                                              row.text(4), user),
                                  std::string(row.text(10)));
            } else if (is_there && row.integer(7) == 0) {
                findings_.problem("schema instep",
                                  fmt::format("its tables belong to {}, and user {} is no member "
                                              "of that role: only an owner may add and drop "
                                              "partitions of the log",
                                              row.text(6), user),
                                  std::string(row.text(11)));
            } else if (is_there && row.text(4) != user) {
                findings_.note("schema instep",
                               fmt::format("belongs to {}, not to {}", row.text(4), user));
            }
        });
    }

    Result<void> look_at_published(const PublishEntry& entry) {
        INSTEP_TRY_ASSIGN(const auto table, find_table(connection_, entry.table));
        if (!table) {
            return {};
        }
        std::vector<std::string> hidden;
        INSTEP_TRY(for_each_row(connection_, kHiddenColumns, {table->oid}, [&](const Cursor& row) {
            if (std::ranges::find(entry.columns, row.text(0)) != entry.columns.end()) {
                hidden.emplace_back(row.text(0));
            }
        }));
        return for_each_row(connection_, kPublishedTable, {table->oid}, [&](const Cursor& row) {
            judge_published("table " + entry.table, row, hidden);
        });
    }

    Result<void> look_at_replica(const ReplicaDefinition& replica) {
        const std::string subject = "replica " + replica.table;
        INSTEP_TRY_ASSIGN(const auto table, find_table(connection_, replica.table));
        if (!table) {
            return look_for_place(subject, replica.table);
        }
        std::vector<std::string> missing;
        std::string user;
        std::string fix;
        INSTEP_TRY(for_each_row(connection_, kReplicaTable, {table->oid}, [&](const Cursor& row) {
            user = row.text(0);
            missing.emplace_back(row.text(1));
            fix = row.text(2);
        }));
        if (!missing.empty()) {
            findings_.problem(subject,
                              fmt::format("user {} lacks rights on its table: {}", user,
                                          fmt::join(missing, ", ")),
                              fix);
        }
        return {};
    }

private:
    void judge_published(const std::string& subject, const Cursor& row,
                         const std::vector<std::string>& hidden) {
        const std::string_view user = row.text(0);
        if (row.integer(3) == 0) {
            findings_.problem(subject,
                              fmt::format("user {} may not use schema {}", user, row.text(4)),
                              std::string(row.text(7)));
        }
        if (!hidden.empty()) {
            findings_.problem(
                subject,
                fmt::format("user {} may not read {} of it", user, fmt::join(hidden, ", ")),
                std::string(row.text(8)));
        }
        if (row.integer(2) == 0) {
            const std::string message = fmt::format(
                "it belongs to {}, and user {} is no member of that role: only an owner can make "
                "and replace its triggers",
                row.text(1), user);
            if (row.integer(5) == 0) {
                findings_.problem(subject, message, std::string(row.text(6)));
            } else {
                findings_.note(subject, message, "run `instep apply` as its owner");
            }
        }
    }

    Result<void> look_for_place(const std::string& subject, std::string_view table) {
        const std::size_t dot = table.find('.');
        const std::string_view schema =
            dot == std::string_view::npos ? std::string_view() : table.substr(0, dot);
        return for_each_row(connection_, kPlaceForReplica, {schema}, [&](const Cursor& row) {
            if (row.integer(2) == 0) {
                findings_.problem(subject, fmt::format("there is no schema {}", row.text(1)),
                                  std::string(row.text(4)));
            } else if (row.integer(3) == 0) {
                findings_.problem(subject,
                                  fmt::format("user {} may not make its table in schema {}",
                                              row.text(0), row.text(1)),
                                  std::string(row.text(5)));
            }
        });
    }

    Connection& connection_;
    Findings& findings_;
};

}  // namespace

Result<std::optional<TableId>> find_table(Connection& connection, std::string_view table) {
    std::optional<TableId> found;
    INSTEP_TRY(for_each_row(connection, kFindTable, {table}, [&](const Cursor& row) {
        found = TableId{row.integer(0), std::string(row.text(1))};
    }));
    return found;
}

Result<void> look_at_rights(Connection& connection, const ServiceConfig& config,
                            Findings& findings) {
    RightsLook look(connection, findings);
    INSTEP_TRY(look.look_at_own_place());
    for (const PublishEntry& entry : config.publish) {
        INSTEP_TRY(look.look_at_published(entry));
    }
    for (const ReplicaDefinition& replica : config.replicas) {
        INSTEP_TRY(look.look_at_replica(replica));
    }
    return {};
}

Result<void> refuse_missing_rights(Connection& connection, const ServiceConfig& config) {
    Findings findings;
    INSTEP_TRY(look_at_rights(connection, config, findings));
    for (const Finding& finding : findings.all()) {
        if (finding.severity == Finding::Severity::kProblem) {
            return fail(ErrorCode::kPermissionDenied,
                        fmt::format("{}: {}; {}", finding.subject, finding.message, finding.fix));
        }
    }
    return {};
}

}  // namespace instep
