#include "table_order.hpp"

#include "instep/db/dialect.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

namespace instep {

namespace {

/// Which of the tables refers to which, by their places.
using References = std::set<std::pair<std::int64_t, std::int64_t>>;

bool is_postgres(const Dialect& dialect) { return dialect.name() == "postgres"; }

/// A table that does not exist refers to none. Foreign keys of partitions are their parents'.
constexpr std::string_view kPostgresReferences =
    "SELECT f.place, r.place FROM pg_constraint c JOIN t f ON f.id = c.conrelid "
    "JOIN t r ON r.id = c.confrelid WHERE c.contype = 'f' AND c.conparentid = 0";

/// A foreign key may write its table's name in any case.
constexpr std::string_view kSqliteReferences =
    "SELECT f.place, r.place FROM t AS f, pragma_foreign_key_list(f.id) AS k, t AS r "
    "WHERE r.id = k.\"table\" COLLATE NOCASE";

Result<References> find_references(Connection& connection,
                                   std::span<const ReplicaDefinition> definitions) {
    const Dialect& dialect = connection.dialect();
    const bool on_server = is_postgres(dialect);
    std::string places;
    std::vector<std::string> names;
    for (const ReplicaDefinition& definition : definitions) {
        names.push_back(on_server ? dialect.quote_table(definition.table) : definition.table);
        places += fmt::format("{}({}, {}(${}))", places.empty() ? "" : ", ", names.size() - 1,
                              on_server ? "to_regclass" : "", names.size());
    }
    const std::vector<ValueView> parameters(names.begin(), names.end());
    INSTEP_TRY_ASSIGN(
        const auto rows,
        connection.query(fmt::format("WITH t (place, id) AS (VALUES {}) {}", places,
                                     on_server ? kPostgresReferences : kSqliteReferences),
                         parameters));
    References references;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return references;
        }
        references.emplace(rows->integer(0), rows->integer(1));
    }
}

}  // namespace

Result<std::vector<std::size_t>> table_order(Connection& connection,
                                             std::span<const ReplicaDefinition> definitions) {
    INSTEP_TRY_ASSIGN(const References references, find_references(connection, definitions));
    std::vector<std::int64_t> left;
    for (std::size_t i = 0; i < definitions.size(); ++i) {
        left.push_back(static_cast<std::int64_t>(i));
    }
    const auto waits = [&](std::int64_t table) {
        return std::ranges::any_of(left, [&](std::int64_t other) {
            return other != table && references.contains({table, other});
        });
    };
    std::vector<std::size_t> order;
    while (!left.empty()) {
        const auto free = std::ranges::find_if_not(left, waits);
        const auto next = free == left.end() ? left.begin() : free;
        order.push_back(static_cast<std::size_t>(*next));
        left.erase(next);
    }
    return order;
}

Result<void> defer_constraints(Transaction& transaction) {
    return transaction.connection().execute_script(is_postgres(transaction.dialect())
                                                       ? "SET CONSTRAINTS ALL DEFERRED"
                                                       : "PRAGMA defer_foreign_keys = ON");
}

}  // namespace instep
