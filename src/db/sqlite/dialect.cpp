#include "instep/db/dialect.hpp"

#include "instep/db/connection.hpp"
#include "instep/db/sqlite/database.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>

namespace instep {

namespace {

constexpr std::string_view kTable =
    "SELECT 1 FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name = $1";

constexpr std::string_view kColumns =
    "SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo($1, 'main') ORDER BY cid";

constexpr std::string_view kUniqueIndexes =
    "SELECT name, origin FROM pragma_index_list($1, 'main') WHERE \"unique\" = 1 ORDER BY name";

constexpr std::string_view kTables =
    "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' "
    "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'instep\\_%' ESCAPE '\\' "
    "ORDER BY name";

class SqliteDialect final : public Dialect {
public:
    [[nodiscard]] std::string_view name() const override { return "sqlite"; }
    [[nodiscard]] std::string quote_table(std::string_view table) const override {
        return quote(table);
    }
    [[nodiscard]] std::string key_order(std::string_view column, ValueKind,
                                        std::string_view) const override {
        return fmt::format("{} COLLATE BINARY", column);
    }
    [[nodiscard]] std::string wire_expression(std::string_view column, ValueKind,
                                              std::string_view) const override {
        return std::string(column);
    }
    [[nodiscard]] std::string_view column_type(ValueKind kind) const override;
    [[nodiscard]] std::string_view row_lock(RowLock) const override { return ""; }
    [[nodiscard]] std::string_view own_schema() const override { return ""; }
    [[nodiscard]] bool binds_arrays() const override { return false; }

    [[nodiscard]] Result<TableDescription> describe_table(Connection& connection,
                                                          std::string_view table) const override;
    [[nodiscard]] Result<std::vector<std::string>> list_tables(
        Connection& connection) const override;
};

/// By the affinity that SQLite gives the declared type, and by what people mean with the types
/// that it does not know. https://www.sqlite.org/datatype3.html, section 3.1.
ValueKind kind_of(std::string_view declared_type) {
    std::string upper(declared_type);
    std::ranges::transform(upper, upper.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    const auto says = [&](std::string_view word) { return upper.contains(word); };
    if (says("INT")) {
        return ValueKind::kInteger;
    }
    if (upper.empty() || says("CHAR") || says("CLOB") || says("TEXT") || says("DATE") ||
        says("TIME")) {
        return ValueKind::kText;
    }
    if (says("BLOB")) {
        return ValueKind::kBytes;
    }
    // A DECIMAL is kept as an integer or a real.
    return says("BOOL") ? ValueKind::kBoolean : ValueKind::kReal;
}

ColumnDescription read_column(const Cursor& row) {
    ColumnDescription column;
    column.name = row.text(0);
    column.declared_type = row.text(1);
    column.kind = kind_of(column.declared_type);
    column.not_null = row.integer(2) != 0;
    column.key_position = static_cast<std::uint32_t>(row.integer(3));
    column.generated = row.integer(4) != 0;
    return column;
}

/// The column that is the row's own number: it cannot be NULL although it is not declared so.
/// "INTEGER PRIMARY KEY DESC" is none, and has an index instead.
ColumnDescription* row_number(TableDescription& table) {
    const auto in_key = [](const ColumnDescription& column) { return column.key_position > 0; };
    const auto found = std::ranges::find_if(table.columns, in_key);
    const bool alone = std::ranges::count_if(table.columns, in_key) == 1;
    return alone && sqlite3_stricmp(found->declared_type.c_str(), "INTEGER") == 0 ? &*found
                                                                                  : nullptr;
}

std::string_view SqliteDialect::column_type(ValueKind kind) const {
    switch (kind) {
        case ValueKind::kInteger:
            return "INTEGER";
        case ValueKind::kReal:
            return "REAL";
        case ValueKind::kBoolean:
            return "BOOLEAN";
        case ValueKind::kBytes:
            return "BLOB";
        case ValueKind::kDecimal:
        case ValueKind::kText:
            break;
    }
    return "TEXT";
}

Result<TableDescription> SqliteDialect::describe_table(Connection& connection,
                                                       std::string_view table) const {
    const ValueView parameter[] = {table};
    TableDescription description;
    description.name = table;
    description.full_name = quote(table);
    INSTEP_TRY_ASSIGN(auto tables, connection.query(kTable, parameter));
    INSTEP_TRY_ASSIGN(const bool exists, tables->next());
    if (!exists) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("there is no table \"{}\"; names are case-sensitive", table));
    }
    INSTEP_TRY_ASSIGN(auto columns, connection.query(kColumns, parameter));
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, columns->next());
        if (!more) {
            break;
        }
        description.columns.push_back(read_column(*columns));
    }
    bool key_has_index = false;
    INSTEP_TRY_ASSIGN(auto indexes, connection.query(kUniqueIndexes, parameter));
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, indexes->next());
        if (!more) {
            break;
        }
        if (indexes->text(1) == "pk") {
            key_has_index = true;
        } else {
            description.unique_indexes.emplace_back(indexes->text(0));
        }
    }
    if (ColumnDescription* number = key_has_index ? nullptr : row_number(description)) {
        number->not_null = true;
    }
    return description;
}

Result<std::vector<std::string>> SqliteDialect::list_tables(Connection& connection) const {
    std::vector<std::string> names;
    INSTEP_TRY_ASSIGN(auto rows, connection.query(kTables, {}));
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return names;
        }
        names.emplace_back(rows->text(0));
    }
}

}  // namespace

const Dialect& sqlite_dialect() {
    static const SqliteDialect dialect;
    return dialect;
}

}  // namespace instep
