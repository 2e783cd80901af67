#include "instep/db/dialect.hpp"

#include "instep/db/connection.hpp"
#include "instep/db/postgres/database.hpp"
#include "widening.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

/// $1 is a schema or empty, $2 a table.
constexpr std::string_view kTable =
    "SELECT c.oid::bigint, c.relkind = 'p' OR EXISTS (SELECT 1 FROM pg_inherits i "
    "    WHERE c.oid IN (i.inhrelid, i.inhparent)), "
    "format('%I.%I', n.nspname, c.relname) "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p') AND c.relname = $2 "
    "AND CASE WHEN $1 = '' THEN pg_table_is_visible(c.oid) ELSE n.nspname = $1 END";

/// A domain counts as what it is made of. A type that does not come with PostgreSQL is unknown
/// elsewhere, so its values are taken as their texts; what such a text may depend on a session's
/// settings for, as that of a composite of times, is called pg_catalog.text.
constexpr std::string_view kColumns =
    "SELECT a.attname, CASE WHEN b.typnamespace = 'pg_catalog'::regnamespace "
    "    THEN format_type(b.oid, made.modifier) "
    "    WHEN b.typtype = 'e' OR b.typcategory = 'S' THEN 'text' ELSE 'pg_catalog.text' END, "
    "  b.typname::text, a.attnotnull, "
    "  coalesce((SELECT k.place FROM pg_index i, "
    "      unnest(i.indkey) WITH ORDINALITY AS k (attnum, place) "
    "    WHERE i.indrelid = a.attrelid AND i.indisprimary AND i.indimmediate "
    "      AND k.attnum = a.attnum), 0), "
    "  a.attgenerated <> '' "
    "FROM pg_attribute a CROSS JOIN LATERAL ("
    "    WITH RECURSIVE made (type, modifier) AS (SELECT a.atttypid, a.atttypmod UNION ALL "
    "      SELECT d.typbasetype, d.typtypmod FROM made JOIN pg_type d ON d.oid = made.type "
    "      WHERE d.typtype = 'd') "
    "    SELECT made.* FROM made JOIN pg_type p ON p.oid = made.type WHERE p.typtype <> 'd') made "
    "JOIN pg_type b ON b.oid = made.type "
    "WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped "
    "ORDER BY a.attnum";

constexpr std::string_view kUniqueIndexes =
    "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
    "WHERE i.indrelid = $1::bigint::oid AND i.indisunique AND NOT i.indisprimary "
    "ORDER BY c.relname";

constexpr std::string_view kTables =
    "SELECT name FROM (SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname::text "
    "    ELSE concat(n.nspname, '.', c.relname) END AS name "
    "  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "  WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition "
    "  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'instep') "
    "  AND n.nspname NOT LIKE 'pg\\_t%' AND c.relname NOT LIKE 'instep\\_%') AS t "
    "ORDER BY name COLLATE \"C\"";

/// The schema before the first dot, or none, and the table.
std::pair<std::string_view, std::string_view> split(std::string_view table) {
    const std::size_t dot = table.find('.');
    if (dot == std::string_view::npos) {
        return {{}, table};
    }
    return {table.substr(0, dot), table.substr(dot + 1)};
}

/// Whole numbers of so many digits fit 64 bits.
bool is_whole_number(std::string_view declared_type) {
    for (int digits = 1; digits <= 18; ++digits) {
        if (declared_type == fmt::format("numeric({},0)", digits)) {
            return true;
        }
    }
    return false;
}

ValueKind kind_of(std::string_view type, std::string_view declared_type) {
    if (declared_type.ends_with("text")) {
        return ValueKind::kText;
    }
    if (type == "int2" || type == "int4" || type == "int8" || type == "oid") {
        return ValueKind::kInteger;
    }
    if (type == "float4" || type == "float8") {
        return ValueKind::kReal;
    }
    if (type == "numeric") {
        return is_whole_number(declared_type) ? ValueKind::kInteger : ValueKind::kDecimal;
    }
    if (type == "bool") {
        return ValueKind::kBoolean;
    }
    return type == "bytea" ? ValueKind::kBytes : ValueKind::kText;
}

/// Whether values of the type are in the order of their texts, at least between the years 1 and
/// 9999; an index serves then.
bool is_ordered_as_text(std::string_view declared_type) {
    return !declared_type.ends_with("[]") && (declared_type == "uuid" || declared_type == "date" ||
                                              declared_type.starts_with("timestamp"));
}

class PostgresDialect final : public Dialect {
public:
    [[nodiscard]] std::string_view name() const override { return "postgres"; }
    [[nodiscard]] std::string_view row_lock(RowLock lock) const override {
        return lock == RowLock::kShared ? " FOR SHARE" : " FOR NO KEY UPDATE";
    }
    [[nodiscard]] bool binds_arrays() const override { return true; }
    [[nodiscard]] std::string_view own_schema() const override {
        // Asked for first, so that who may not make schemas can work in one that was made for it.
        return "DO $$ BEGIN IF to_regnamespace('instep') IS NULL THEN "
               "CREATE SCHEMA IF NOT EXISTS instep; END IF; END $$; ";
    }

    [[nodiscard]] Result<TableDescription> describe_table(Connection& connection,
                                                          std::string_view table) const override;
    [[nodiscard]] Result<std::vector<std::string>> list_tables(
        Connection& connection) const override;

    [[nodiscard]] std::string quote_table(std::string_view table) const override {
        const auto [schema, name] = split(table);
        return schema.empty() ? quote(name) : fmt::format("{}.{}", quote(schema), quote(name));
    }

    [[nodiscard]] std::string key_order(std::string_view column, ValueKind kind,
                                        std::string_view declared_type) const override {
        if (kind != ValueKind::kText || is_ordered_as_text(declared_type)) {
            return std::string(column);
        }
        // A cast takes away the blanks of a character(n), and gives an inet a mask.
        const bool is_plain =
            declared_type == "text" || declared_type.starts_with("character varying");
        return is_plain && !declared_type.ends_with("[]")
                   ? fmt::format("{}::text COLLATE \"C\"", column)
                   : fmt::format("concat({}) COLLATE \"C\"", column);
    }

    [[nodiscard]] std::string wire_expression(std::string_view column, ValueKind kind,
                                              std::string_view declared_type) const override {
        if (kind == ValueKind::kInteger && declared_type.starts_with("numeric")) {
            return fmt::format("nullif({}, 'NaN')::bigint", column);
        }
        const bool is_time =
            declared_type.starts_with("timestamp") && !declared_type.ends_with("[]");
        return is_time ? fmt::format("to_json({}) #>> '{{}}'", column) : std::string(column);
    }

    [[nodiscard]] bool widens(std::string_view from, std::string_view to) const override {
        return postgres::widens(from, to);
    }

    [[nodiscard]] std::string_view column_type(ValueKind kind) const override {
        switch (kind) {
            case ValueKind::kInteger:
                return "bigint";
            case ValueKind::kReal:
                return "double precision";
            case ValueKind::kDecimal:
                return "numeric";
            case ValueKind::kBoolean:
                return "boolean";
            case ValueKind::kBytes:
                return "bytea";
            case ValueKind::kText:
                break;
        }
        return "text";
    }
};

ColumnDescription read_column(const Cursor& row) {
    ColumnDescription column;
    column.name = row.text(0);
    column.declared_type = row.text(1);
    column.kind = kind_of(row.text(2), column.declared_type);
    column.not_null = row.integer(3) != 0;
    column.key_position = static_cast<std::uint32_t>(row.integer(4));
    column.generated = row.integer(5) != 0;
    return column;
}

Result<TableDescription> PostgresDialect::describe_table(Connection& connection,
                                                         std::string_view table) const {
    const auto [schema, name] = split(table);
    const ValueView names[] = {schema, name};
    INSTEP_TRY_ASSIGN(const auto tables, connection.query(kTable, names));
    INSTEP_TRY_ASSIGN(const bool exists, tables->next());
    if (!exists) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("there is no table \"{}\"; names are case-sensitive, and a table "
                                "outside of the search path needs its schema: schema.table",
                                table));
    }
    TableDescription description;
    description.name = table;
    description.has_other_names = tables->integer(1) != 0;
    description.full_name = tables->text(2);
    const ValueView id[] = {tables->integer(0)};
    INSTEP_TRY_ASSIGN(const auto columns, connection.query(kColumns, id));
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, columns->next());
        if (!more) {
            break;
        }
        description.columns.push_back(read_column(*columns));
    }
    INSTEP_TRY_ASSIGN(const auto indexes, connection.query(kUniqueIndexes, id));
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, indexes->next());
        if (!more) {
            return description;
        }
        description.unique_indexes.emplace_back(indexes->text(0));
    }
}

Result<std::vector<std::string>> PostgresDialect::list_tables(Connection& connection) const {
    std::vector<std::string> names;
    INSTEP_TRY_ASSIGN(const auto rows, connection.query(kTables, {}));
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return names;
        }
        names.emplace_back(rows->text(0));
    }
}

}  // namespace

const Dialect& postgres_dialect() {
    static const PostgresDialect dialect;
    return dialect;
}

}  // namespace instep
