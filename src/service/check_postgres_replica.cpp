#include "check_postgres.hpp"
#include "instep/db/dialect.hpp"
#include "rows.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace instep {

namespace {

/// The column beside the owner's; see the replica module.
constexpr std::string_view kVersionColumn = "instep_version";

constexpr std::string_view kUniqueIndexes =
    "SELECT c.oid::regclass::text, CASE WHEN k.oid IS NULL "
    "    THEN format('DROP INDEX %s;', c.oid::regclass) "
    "    ELSE format('ALTER TABLE %s DROP CONSTRAINT %I;', i.indrelid::regclass, k.conname) END, "
    "  coalesce(format(' CREATE INDEX ON %s (%s);', i.indrelid::regclass, "
    "    (SELECT string_agg(pg_get_indexdef(c.oid, n, true), ', ' ORDER BY n) "
    "     FROM generate_series(1, i.indnkeyatts) AS n)), '') "
    "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
    "LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype IN ('u', 'x') "
    "WHERE i.indrelid = $1::bigint::oid AND (i.indisunique OR i.indisexclusion) "
    "AND NOT i.indisprimary ORDER BY 1";

constexpr std::string_view kForeignKeys =
    "SELECT conrelid::regclass::text, confrelid::regclass::text, "
    "  format('ALTER TABLE %s DROP CONSTRAINT %I;', conrelid::regclass, conname), "
    "  format('ALTER TABLE %s ALTER CONSTRAINT %I DEFERRABLE;', conrelid::regclass, conname), "
    "  conrelid::bigint, confrelid::bigint, condeferrable "
    "FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 "
    "AND $1::bigint::oid IN (conrelid, confrelid) ORDER BY 1, 2";

constexpr std::string_view kColumns =
    "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
    "  a.atthasdef OR a.attidentity <> '', "
    "  coalesce(a.attnum = ANY (p.indkey::smallint[]), false), "
    "  format('ALTER TABLE %s ALTER COLUMN %I', a.attrelid::regclass, a.attname), "
    "  format('ALTER TABLE %s DROP COLUMN %I;', a.attrelid::regclass, a.attname) "
    "FROM pg_attribute a LEFT JOIN pg_index p ON p.indrelid = a.attrelid AND p.indisprimary "
    "WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped "
    "ORDER BY a.attnum";

class ReplicaLook {
public:
    ReplicaLook(Connection& connection, const CheckedReplica& replica, const Contract* contract,
                Findings& findings)
        : connection_(connection),
          checked_(replica),
          replica_(replica.definition),
          contract_(contract),
          findings_(findings),
          subject_("replica " + replica_.table) {}

    Result<void> look_at_constraints(const TableId& table) {
        INSTEP_TRY(for_each_row(connection_, kUniqueIndexes, {table.oid}, [this](const Cursor& r) {
            findings_.warning(subject_,
                              fmt::format("has unique indexes besides its key: {}; rows can meet "
                                          "in another order than at the owner, and one that an "
                                          "index refuses {}",
                                          r.text(0), checked_.when_refused()),
                              fmt::format("{}{}", r.text(1), r.text(2)));
        }));
        std::set<std::int64_t> together;
        for (const std::string& member : checked_.group) {
            INSTEP_TRY_ASSIGN(const auto found, find_table(connection_, member));
            together.insert(found ? found->oid : 0);
        }
        return for_each_row(connection_, kForeignKeys, {table.oid}, [&](const Cursor& row) {
            if (together.contains(row.integer(4)) && together.contains(row.integer(5))) {
                judge_kept_key(row, row.integer(4) == table.oid);
                return;
            }
            findings_.warning(
                subject_,
                fmt::format("a foreign key leads from {} to {}: rows arrive and go without regard "
                            "for it, and one that it refuses {}",
                            row.text(0), row.text(1), checked_.when_refused()),
                std::string(row.text(2)));
        });
    }

    Result<void> look_at_columns(const TableId& table) {
        return for_each_row(connection_, kColumns, {table.oid}, [this](const Cursor& row) {
            if (row.text(0) == kVersionColumn) {
                return;
            }
            const ContractColumn* column = find_source(row.text(0));
            if (column != nullptr) {
                judge_kept(*column, row);
            } else if (knows_columns()) {
                judge_own(row);
            }
        });
    }

private:
    /// A foreign key between tables that take in whole transactions together. Both ends see it.
    void judge_kept_key(const Cursor& row, bool is_mine) {
        if (is_mine && row.integer(6) == 0) {
            findings_.note(
                subject_,
                fmt::format("the foreign key from {} to {} is held at every statement: one of the "
                            "owner's transactions that is too large to hold in memory may be "
                            "refused",
                            row.text(0), row.text(1)),
                std::string(row.text(3)));
        }
    }

    [[nodiscard]] bool knows_columns() const {
        return contract_ != nullptr || !replica_.columns.empty();
    }

    /// The owner's column that is kept here under that name.
    [[nodiscard]] const ContractColumn* find_source(std::string_view local) const {
        if (contract_ == nullptr) {
            return nullptr;
        }
        if (replica_.columns.empty()) {
            return contract_->find(local);
        }
        const auto mapped = std::ranges::find(replica_.columns, local,
                                              &std::pair<std::string, std::string>::second);
        return mapped == replica_.columns.end() ? nullptr : contract_->find(mapped->first);
    }

    [[nodiscard]] bool is_mapped(std::string_view local) const {
        return std::ranges::find(replica_.columns, local,
                                 &std::pair<std::string, std::string>::second) !=
               replica_.columns.end();
    }

    /// A column that the owner's values go to.
    void judge_kept(const ContractColumn& column, const Cursor& row) {
        const Dialect& dialect = connection_.dialect();
        const std::string_view local = row.text(1);
        const std::string_view wanted = contract_->dialect == dialect.name()
                                            ? std::string_view(column.declared_type)
                                            : dialect.column_type(column.kind);
        const bool is_key = row.integer(4) != 0;
        if (dialect.widens(local, wanted)) {
            findings_.warning(subject_,
                              fmt::format("column {} is {}, narrower than the owner's {}: a row "
                                          "that does not fit {}",
                                          row.text(0), local, wanted, checked_.when_refused()),
                              fmt::format("{} TYPE {};", row.text(5), wanted));
        } else if (local != wanted && !dialect.widens(wanted, local)) {
            findings_.warning(subject_,
                              fmt::format("column {} is {}, the owner's is {}: a row that cannot "
                                          "be converted {}",
                                          row.text(0), local, wanted, checked_.when_refused()),
                              fmt::format("{0} TYPE {1} USING {2}::{1};", row.text(5), wanted,
                                          dialect.quote(row.text(0))));
        }
        if (row.integer(2) != 0 && !is_key && !column.not_null) {
            findings_.warning(subject_,
                              fmt::format("column {} is NOT NULL here, but not at the owner: a "
                                          "row without it {}",
                                          row.text(0), checked_.when_refused()),
                              fmt::format("{} DROP NOT NULL;", row.text(5)));
        }
    }

    /// A column that nothing of the owner's goes to.
    void judge_own(const Cursor& row) {
        if (contract_ == nullptr && is_mapped(row.text(0))) {
            return;
        }
        if (row.integer(2) != 0 && row.integer(3) == 0) {
            findings_.problem(subject_,
                              fmt::format("column {} is NOT NULL without a default, and the "
                                          "owner's rows do not have it: every new one {}",
                                          row.text(0), checked_.when_refused()),
                              fmt::format("{} DROP NOT NULL;", row.text(5)));
        } else if (contract_ != nullptr) {
            findings_.warning(subject_,
                              fmt::format("column {} is not in {}: it keeps what it has, and "
                                          "new rows have none",
                                          row.text(0), contract_->schema()),
                              fmt::format("{} if nobody reads it", row.text(6)));
        }
    }

    Connection& connection_;
    const CheckedReplica& checked_;
    const ReplicaDefinition& replica_;
    const Contract* contract_;
    Findings& findings_;
    const std::string subject_;
};

}  // namespace

Result<void> look_at_replica_table(Connection& connection, const CheckedReplica& replica,
                                   const Contract* contract, Findings& findings) {
    INSTEP_TRY_ASSIGN(const auto table, find_table(connection, replica.definition.table));
    if (!table) {
        return {};
    }
    ReplicaLook look(connection, replica, contract, findings);
    INSTEP_TRY(look.look_at_constraints(*table));
    return look.look_at_columns(*table);
}

}  // namespace instep
