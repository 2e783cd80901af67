// The few places where SQL databases differ. Domain modules own their SQL and ask here for
// these fragments only.
#pragma once

#include "instep/base/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

class Connection;

/// What the values of a column are, whatever its database calls the type. It decides which type
/// a replica's column has in another kind of database.
enum class ValueKind : std::uint8_t {
    kInteger,
    kReal,
    kDecimal,  ///< Exact; travels as text.
    kBoolean,  ///< Travels as 0 or 1 between databases, as true or false in events.
    kBytes,
    kText,  ///< And whatever else is written as text: times, UUIDs, JSON, arrays.
};

/// "integer", "real", "decimal", "boolean", "bytes" or "text".
std::string_view to_string(ValueKind kind) noexcept;

/// Errors: kInvalidArgument for another word.
Result<ValueKind> parse_value_kind(std::string_view text);

/// A column as the catalogue has it.
struct ColumnDescription {
    std::string name;

    /// The type as declared in the database, such as "VARCHAR(50)"; may be empty on SQLite. On
    /// PostgreSQL a type that only this database has is "text", and a domain what it is made of.
    std::string declared_type;

    ValueKind kind = ValueKind::kText;

    bool not_null = false;

    /// Place in the primary key, from 1; 0 if not part of it.
    std::uint32_t key_position = 0;

    /// Computed by the database; may be read, not written.
    bool generated = false;
};

/// A table as the catalogue has it. Columns stand in declaration order.
struct TableDescription {
    std::string name;

    /// The name with its schema, quoted: the same table whatever the search path.
    std::string full_name;
    std::vector<ColumnDescription> columns;

    /// Statements reach its rows by the names of other tables too: it has partitions or heirs, or
    /// is one.
    bool has_other_names = false;

    /// Unique indexes besides the primary key, by name.
    std::vector<std::string> unique_indexes;

    /// The column, or nullptr.
    [[nodiscard]] const ColumnDescription* find(std::string_view column) const;

    /// The primary key's columns in key order; empty if the table has none.
    [[nodiscard]] std::vector<std::string> key_columns() const;
};

/// Who else may hold a locked row.
enum class RowLock : std::uint8_t {
    kShared,     ///< Others that lock it so; nobody changes it.
    kExclusive,  ///< Nobody.
};

/// Immutable; safe to use from any thread.
class Dialect {
public:
    virtual ~Dialect() = default;

    /// "sqlite" or "postgres"; also the folder of the migrations.
    [[nodiscard]] virtual std::string_view name() const = 0;

    /// Reads the table from the catalogue, the only proof that a name in a service file is a
    /// real table. The name must be the catalogue's to the letter. Errors: kNotFound, also for
    /// a view; those of Connection.
    [[nodiscard]] virtual Result<TableDescription> describe_table(Connection& connection,
                                                                  std::string_view table) const = 0;

    /// All tables that a service owns, as describe_table() takes them: no system tables, none of
    /// ours ("instep_…").
    [[nodiscard]] virtual Result<std::vector<std::string>> list_tables(
        Connection& connection) const = 0;

    /// A table's name in double quotes. On PostgreSQL "sales.orders" is table orders of schema
    /// sales, and a name without a dot is looked for in the search path.
    [[nodiscard]] virtual std::string quote_table(std::string_view table) const = 0;

    /// An expression that sorts and compares a key column as keys are ordered everywhere: texts
    /// byte by byte, other types as they are. `column` is already quoted.
    [[nodiscard]] virtual std::string key_order(std::string_view column, ValueKind kind,
                                                std::string_view declared_type) const = 0;

    /// An expression that reads a column as it travels: the same text for the same value in
    /// every session, and in the data of captured events.
    [[nodiscard]] virtual std::string wire_expression(std::string_view column, ValueKind kind,
                                                      std::string_view declared_type) const = 0;

    /// The type of a column for such values: "BLOB" or "bytea" for bytes.
    [[nodiscard]] virtual std::string_view column_type(ValueKind kind) const = 0;

    /// True if a column that is declared as `from` may become `to` as it stands: another type,
    /// which has every value of the old one. Never where types are not enforced.
    [[nodiscard]] virtual bool widens(std::string_view /*from*/, std::string_view /*to*/) const {
        return false;
    }

    /// Ends a SELECT whose rows must not change before the transaction ends; empty where one
    /// writer excludes all others.
    [[nodiscard]] virtual std::string_view row_lock(RowLock lock) const = 0;

    /// Makes the place for our own tables, before the first of them is made; may be empty.
    [[nodiscard]] virtual std::string_view own_schema() const = 0;

    /// True if Connection::query_bulk() works, and is the faster way to write many rows.
    [[nodiscard]] virtual bool binds_arrays() const = 0;

    /// The identifier in double quotes, inner quotes doubled. Any text is safe.
    [[nodiscard]] std::string quote(std::string_view identifier) const;
};

}  // namespace instep
