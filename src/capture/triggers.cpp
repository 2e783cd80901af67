#include "triggers.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

bool is_postgres(const Dialect& dialect) { return dialect.name() == "postgres"; }

}  // namespace

std::vector<Trigger> capture_triggers(const Contract& contract, const TableDescription& table,
                                      const Dialect& dialect) {
    return is_postgres(dialect) ? postgres_triggers(contract, table, dialect)
                                : sqlite_triggers(contract, dialect);
}

Result<StandingTriggers> standing_triggers(Connection& connection) {
    return is_postgres(connection.dialect()) ? standing_in_postgres(connection)
                                             : standing_in_sqlite(connection);
}

std::string key_expression(const Contract& contract, const Dialect& dialect, std::string_view row) {
    return is_postgres(dialect) ? postgres_key(contract, dialect, row)
                                : sqlite_key(contract, dialect, row);
}

std::string text_literal(std::string_view text) {
    std::string quoted = "'";
    for (const char c : text) {
        quoted.append(c == '\'' ? 2 : 1, c);
    }
    return quoted + '\'';
}

std::string_view now_us(const Dialect& dialect) {
    return is_postgres(dialect)
               ? "(date_part('epoch', clock_timestamp()) * 1000000)::bigint"
               : "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000";
}

std::string column_of(const Dialect& dialect, std::string_view row, std::string_view column) {
    return fmt::format("{}.{}", row, dialect.quote(column));
}

}  // namespace instep
