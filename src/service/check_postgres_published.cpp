#include "check_postgres.hpp"
#include "instep/db/dialect.hpp"
#include "rows.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

namespace instep {

namespace {

constexpr std::string_view kTable =
    "SELECT c.relkind::text, c.relpersistence::text, c.relrowsecurity, "
    "  row_security_active(c.oid), c.relreplident::text, "
    "  coalesce((SELECT string_agg(i.inhrelid::regclass::text, ', ' ORDER BY i.inhseqno) "
    "    FROM pg_inherits i WHERE i.inhparent = c.oid), ''), "
    "  EXISTS (SELECT 1 FROM pg_subscription_rel s WHERE s.srrelid = c.oid), "
    "  (SELECT coalesce(string_agg(format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I;', "
    "      c.oid::regclass, t.tgname), ' ' ORDER BY t.tgname), '') FROM pg_trigger t "
    "    WHERE t.tgrelid = c.oid AND t.tgname LIKE '#instep\\_capture\\_%' "
    "    AND t.tgenabled <> 'A'), "
    "  quote_ident(current_user), has_table_privilege(c.oid, 'SELECT') "
    "FROM pg_class c WHERE c.oid = $1::bigint::oid";

/// Row triggers that fire after a change, and before ours.
constexpr std::string_view kEarlierTriggers =
    "SELECT t.tgname::text, format('ALTER TRIGGER %I ON %s RENAME TO %I;', t.tgname, "
    "  t.tgrelid::regclass, 'a_' || t.tgname) "
    "FROM pg_trigger t WHERE t.tgrelid = $1::bigint::oid AND NOT t.tgisinternal "
    "AND t.tgenabled <> 'D' AND t.tgtype & 3 = 1 AND t.tgname < '#instep_capture_' "
    "ORDER BY t.tgname";

constexpr std::string_view kTypes =
    "SELECT a.attname::text, t.typname::text, t.typtype::text "
    "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
    "WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped "
    "ORDER BY a.attnum";

/// What is special about values of the type on their way; empty for most.
std::string_view way_of(std::string_view type, std::string_view kind) {
    if (type == "money") {
        return "as text in the format of lc_monetary C; numeric is a number everywhere";
    }
    if (type == "xml") {
        return "as its text; replicas in PostgreSQL have xml too, others text";
    }
    if (type == "hstore") {
        return "as its text, and replicas have it as text";
    }
    if (type == "citext") {
        return "as its text, and replicas have it as text, which heeds the case";
    }
    return kind == "c" ? "as the text of its row, and replicas have it as text" : "";
}

class PublishedLook {
public:
    PublishedLook(Connection& connection, const Contract& contract, Findings& findings)
        : connection_(connection),
          contract_(contract),
          findings_(findings),
          subject_("table " + contract.table) {}

    Result<void> look(const TableId& table, CaptureBy capture) {
        bool is_readable = false;
        INSTEP_TRY(for_each_row(connection_, kTable, {table.oid}, [&](const Cursor& row) {
            is_readable = row.integer(9) != 0;
            judge_kind(table, row);
            judge_access(table, row);
            if (capture == CaptureBy::kWal) {
                judge_identity(table, row.text(4));
            }
        }));
        if (capture == CaptureBy::kTriggers) {
            INSTEP_TRY(look_at_triggers(table));
        }
        INSTEP_TRY(look_at_types(table));
        return is_readable ? look_at_key_order(table) : Result<void>();
    }

private:
    void judge_kind(const TableId& table, const Cursor& row) {
        if (row.text(1) == "u") {
            findings_.warning(subject_,
                              "is unlogged: after a crash it is empty, without an event that says "
                              "so",
                              fmt::format("ALTER TABLE {} SET LOGGED;", table.name));
        }
        const std::string_view children = row.text(5);
        is_partitioned_ = row.text(0) == "p";
        if (is_partitioned_) {
            findings_.note(subject_,
                           "is partitioned: TRUNCATE of a single partition is not captured, nor "
                           "is one that is attached or detached with rows",
                           "delete rows with DELETE; `instep repair` brings replicas in step "
                           "after other changes");
        } else if (!children.empty()) {
            findings_.warning(
                subject_,
                fmt::format("tables inherit from it ({}): their rows are read with "
                            "it, but changes to them are not captured",
                            children),
                fmt::format("ALTER TABLE … NO INHERIT {}; for each of them", table.name));
        }
    }

    void judge_access(const TableId& table, const Cursor& row) {
        if (row.integer(3) != 0) {
            findings_.problem(
                subject_,
                fmt::format("row-level security hides rows from user {}: backfill and verify "
                            "would take them for deleted",
                            row.text(8)),
                fmt::format("ALTER ROLE {} BYPASSRLS;", row.text(8)));
        } else if (row.integer(2) != 0) {
            findings_.note(subject_,
                           "has row-level security, which does not hold for Instep: every row is "
                           "published");
        }
        if (row.integer(6) != 0) {
            const std::string_view fix = row.text(7);
            findings_.warning(subject_,
                              "rows arrive through a subscription of logical replication, whose "
                              "changes fire no ordinary trigger",
                              fix.empty() ? fmt::format("run `instep apply`, then this again, for "
                                                        "the ALTER TABLE {} that is needed",
                                                        table.name)
                                          : std::string(fix));
        }
    }

    void judge_identity(const TableId& table, std::string_view identity) {
        if (identity == "n" || identity == "i") {
            findings_.problem(subject_,
                              "its replica identity is not its primary key: updates and deletes "
                              "in the WAL do not tell which row they mean",
                              fmt::format("ALTER TABLE {} REPLICA IDENTITY DEFAULT;", table.name));
        } else if (identity == "f") {
            findings_.note(subject_,
                           "has replica identity full: the WAL holds each changed row twice",
                           fmt::format("ALTER TABLE {} REPLICA IDENTITY DEFAULT;", table.name));
        }
    }

    Result<void> look_at_triggers(const TableId& table) {
        return for_each_row(connection_, kEarlierTriggers, {table.oid}, [this](const Cursor& row) {
            findings_.warning(subject_,
                              fmt::format("trigger {} fires before the capture: what it changes "
                                          "in the same row comes into the log in the wrong order",
                                          row.text(0)),
                              std::string(row.text(1)));
        });
    }

    Result<void> look_at_types(const TableId& table) {
        return for_each_row(connection_, kTypes, {table.oid}, [this](const Cursor& row) {
            const std::string_view way = way_of(row.text(1), row.text(2));
            if (contract_.find(row.text(0)) != nullptr && !way.empty()) {
                findings_.note(subject_, fmt::format("column {} is {} and travels {}", row.text(0),
                                                     row.text(1), way));
            }
            if (std::ranges::find(contract_.key, row.text(0)) != contract_.key.end()) {
                key_types_[std::string(row.text(0))] = {std::string(row.text(1)),
                                                        std::string(row.text(2))};
            }
        });
    }

    /// Asks the planner, who knows best which indexes serve the order of scans.
    Result<void> look_at_key_order(const TableId& table) {
        std::vector<std::string> orders;
        for (const std::string& name : contract_.key) {
            const ContractColumn& column = *contract_.find(name);
            const Dialect& dialect = connection_.dialect();
            orders.push_back(
                dialect.key_order(dialect.quote(name), column.kind, column.declared_type));
        }
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(connection_, TransactionMode::kRead));
        INSTEP_TRY(
            transaction.query("SELECT set_config('enable_sort', 'off', true), "
                              "set_config('enable_incremental_sort', 'off', true)"));
        bool sorts = false;
        INSTEP_TRY(for_each_row(
            connection_,
            fmt::format("EXPLAIN SELECT 1 FROM {} ORDER BY {} LIMIT 1", table.name,
                        fmt::join(orders, ", ")),
            {}, [&](const Cursor& row) { sorts = sorts || row.text(0).contains("Sort  (cost"); }));
        if (sorts) {
            findings_.warning(subject_,
                              fmt::format("no index has its key ({}) in the order of bytes: "
                                          "backfill and verify sort the table for each chunk",
                                          fmt::join(contract_.key, ", ")),
                              index_for(table));
        }
        return {};
    }

    /// How to get an index that scans can use.
    [[nodiscard]] std::string index_for(const TableId& table) const {
        std::vector<std::string> columns;
        for (const std::string& name : contract_.key) {
            const ContractColumn& column = *contract_.find(name);
            const Dialect& dialect = connection_.dialect();
            const std::string quoted = dialect.quote(name);
            const std::string order = dialect.key_order(quoted, column.kind, column.declared_type);
            const KeyType& type = key_types_.at(name);
            if (order.starts_with("concat(") || type.kind == "e") {
                return "use a key of another type for a large table: its text cannot be indexed";
            }
            const bool is_text = order.contains("::text COLLATE");
            columns.push_back(!is_text                ? quoted
                              : type.name == "citext" ? fmt::format("({})", order)
                                                      : fmt::format("{} COLLATE \"C\"", quoted));
        }
        return fmt::format("CREATE INDEX {}ON {} ({});", is_partitioned_ ? "" : "CONCURRENTLY ",
                           table.name, fmt::join(columns, ", "));
    }

    /// A type as PostgreSQL calls it, and pg_type.typtype.
    struct KeyType {
        std::string name;
        std::string kind;
    };

    Connection& connection_;
    const Contract& contract_;
    Findings& findings_;
    const std::string subject_;
    std::map<std::string, KeyType, std::less<>> key_types_;
    bool is_partitioned_ = false;
};

}  // namespace

Result<void> look_at_published(Connection& connection, const Contract& contract, CaptureBy capture,
                               Findings& findings) {
    INSTEP_TRY_ASSIGN(const auto table, find_table(connection, contract.table));
    return table ? PublishedLook(connection, contract, findings).look(*table, capture)
                 : Result<void>();
}

}  // namespace instep
