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

/// A column as the catalogue has it.
struct ColumnDescription {
    std::string name;

    /// The type as declared in the database, such as "VARCHAR(50)"; may be empty on SQLite.
    std::string declared_type;

    bool not_null = false;

    /// Place in the primary key, from 1; 0 if not part of it.
    std::uint32_t key_position = 0;

    /// Computed by the database; may be read, not written.
    bool generated = false;
};

/// A table as the catalogue has it. Columns stand in declaration order.
struct TableDescription {
    std::string name;
    std::vector<ColumnDescription> columns;

    /// Unique indexes besides the primary key, by name.
    std::vector<std::string> unique_indexes;

    /// The column, or nullptr.
    [[nodiscard]] const ColumnDescription* find(std::string_view column) const;

    /// The primary key's columns in key order; empty if the table has none.
    [[nodiscard]] std::vector<std::string> key_columns() const;
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

    /// All tables that a service owns: no system tables, none of ours ("instep_…").
    [[nodiscard]] virtual Result<std::vector<std::string>> list_tables(
        Connection& connection) const = 0;

    /// Clause that makes ORDER BY and comparisons of a text column byte-wise, as keys are
    /// ordered everywhere: " COLLATE BINARY" or " COLLATE \"C\"".
    [[nodiscard]] virtual std::string_view binary_collation() const = 0;

    /// The type name for raw bytes: "BLOB" or "bytea".
    [[nodiscard]] virtual std::string_view blob_type() const = 0;

    /// The identifier in double quotes, inner quotes doubled. Any text is safe.
    [[nodiscard]] std::string quote(std::string_view identifier) const;
};

}  // namespace instep
