#include "check_sqlite.hpp"

#include "instep/db/dialect.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <strings.h>

#include <algorithm>

namespace instep {

Result<void> look_at_sqlite(Connection& connection, Findings& findings) {
    INSTEP_TRY_ASSIGN(auto rows, connection.query("PRAGMA journal_mode", {}));
    INSTEP_TRY(rows->next());
    const std::string journal(rows->text(0));
    INSTEP_TRY_ASSIGN(rows, connection.query("PRAGMA synchronous", {}));
    INSTEP_TRY(rows->next());
    const bool is_full = rows->integer(0) >= 2;
    const std::string found = fmt::format("journal_mode is {}, synchronous is {}", journal,
                                          is_full ? "full" : "less than full");
    if (journal == "wal" && is_full) {
        findings.note("database", found);
    } else {
        findings.problem("database", found,
                         "set journal_mode to wal; look for a build of SQLite with other defaults");
    }
    return {};
}

Result<void> look_at_sqlite_replica(Connection& connection, const CheckedReplica& replica,
                                    Findings& findings) {
    const std::string& table = replica.definition.table;
    const std::string subject = "replica " + table;
    INSTEP_TRY_ASSIGN(const TableDescription described,
                      connection.dialect().describe_table(connection, table));
    if (!described.unique_indexes.empty()) {
        findings.warning(
            subject,
            fmt::format("has unique indexes besides its key: {}; rows can meet in another order "
                        "than at the owner, and one that an index refuses {}",
                        fmt::join(described.unique_indexes, ", "), replica.when_refused()),
            "make them plain indexes");
    }
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query("SELECT DISTINCT child.name, parent.\"table\" FROM sqlite_schema AS "
                         "child, pragma_foreign_key_list(child.name) AS parent WHERE "
                         "child.type = 'table' AND $1 IN (child.name, parent.\"table\") "
                         "ORDER BY 1, 2",
                         std::initializer_list<ValueView>{std::string_view(table)}));
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return {};
        }
        const auto is_in_group = [&](std::string_view name) {
            return std::ranges::any_of(replica.group, [&](const std::string& member) {
                return strcasecmp(member.c_str(), std::string(name).c_str()) == 0;
            });
        };
        if (is_in_group(rows->text(0)) && is_in_group(rows->text(1))) {
            continue;
        }
        findings.warning(
            subject,
            fmt::format("a foreign key leads from {} to {}: rows arrive and go without regard "
                        "for it, and one that it refuses {}",
                        rows->text(0), rows->text(1), replica.when_refused()),
            "drop the foreign key");
    }
}

}  // namespace instep
