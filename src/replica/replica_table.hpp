// The local table of a replica: which columns it takes from the contract, and its SQL.
#pragma once

#include "instep/capture/contract.hpp"
#include "instep/db/dialect.hpp"
#include "instep/replica/replica.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// The column beside the owner's that keeps the version a row reflects.
inline constexpr std::string_view kVersionColumn = "instep_version";

/// Immutable once made; holds no connection.
class ReplicaTable {
public:
    /// Errors: kSchemaMismatch if the mapping names a column that the contract lacks, or leaves
    /// a key column out.
    static Result<ReplicaTable> bind(const ReplicaDefinition& definition, const Contract& contract,
                                     std::int64_t replica_id, const Dialect& dialect);

    /// What the catalogue lacks: the table, mapped columns, the version column, room in columns
    /// that are as `before` made them, the contract that was in force here (may be null). What
    /// is narrower for another reason was somebody's choice. Errors: kSchemaMismatch if an
    /// existing table has another primary key, or rows that no replica brought.
    [[nodiscard]] Result<std::vector<SchemaChange>> missing(Connection& connection,
                                                            const Contract* before) const;

    /// The owner's names of the mapped columns; key columns among them.
    [[nodiscard]] const std::vector<std::string>& source_columns() const { return sources_; }

    /// Places of the key columns in source_columns(), in key order.
    [[nodiscard]] const std::vector<std::size_t>& key_places() const { return key_places_; }

    [[nodiscard]] std::int64_t replica_id() const { return replica_id_; }

    // The statements for many rows are run with write_rows().

    /// Parameters: the mapped columns, the version, the key's text. Writes nothing where the row
    /// or a tombstone is as new.
    [[nodiscard]] const std::string& upsert() const { return upsert_; }

    /// The same without looking for tombstones and without the key's text.
    [[nodiscard]] const std::string& upsert_untombed() const { return upsert_untombed_; }

    /// As the two above for rows of chunks, which also replace a row of the same version: it
    /// was read under the same snapshot, so it can only differ by damage.
    [[nodiscard]] const std::string& restore() const { return restore_; }
    [[nodiscard]] const std::string& restore_untombed() const { return restore_untombed_; }

    /// The table, and the columns of upsert_untombed()'s parameters, for copy_rows().
    [[nodiscard]] const std::string& name() const { return table_; }
    [[nodiscard]] const std::string& copied() const { return copied_; }

    /// As upsert() for some of the mapped columns, by place; others stay as they are.
    [[nodiscard]] std::string upsert_of(const std::vector<std::size_t>& places) const;

    /// Parameters: the key columns, the version, the key's text, the time. Leaves a tombstone
    /// unless the row or a tombstone is as new.
    [[nodiscard]] const std::string& bury() const { return bury_; }

    /// Parameters: the key columns, the version. Deletes an older row.
    [[nodiscard]] const std::string& remove() const { return remove_; }

    /// The same, also for a row of this very version.
    [[nodiscard]] const std::string& remove_as_old() const { return remove_as_old_; }

    // Those for one row.

    /// Parameters: the key columns, a version, the oldest version. Makes a newer row as old as
    /// can be.
    [[nodiscard]] const std::string& age() const { return age_; }

    /// Parameters: the key columns. The row's version.
    [[nodiscard]] const std::string& version_of() const { return version_of_; }

    /// The WHERE clause for rows behind `after`, up to and including `to`; either may be empty,
    /// which leaves that side open. Its parameters are JsonRows::read_bounds(); `extra` joins
    /// it with AND.
    [[nodiscard]] std::string where_range(std::string_view after, std::string_view to,
                                          std::string_view extra) const;

    /// Selects `selected` (quoted local names) from the table; where_range() may follow.
    [[nodiscard]] std::string select(std::string_view selected) const;

    /// Rows in key order, at most `limit`; behind where_range().
    [[nodiscard]] std::string in_key_order(std::uint32_t limit) const;

    /// Local columns as they travel, comma-separated.
    [[nodiscard]] const std::string& key_list() const { return key_wire_; }
    [[nodiscard]] std::string local_list(const std::vector<std::string>& sources) const;

private:
    enum class Tombstones : std::uint8_t { kHeeded, kKnownAbsent };

    /// A mapped column.
    struct Column {
        std::string source;
        std::string local;
        std::string quoted;
        ValueKind kind = ValueKind::kText;

        /// In this database.
        std::string type;
        std::string wire;
        std::string order;
    };

    explicit ReplicaTable(const Dialect& dialect) : dialect_(&dialect) {}
    [[nodiscard]] Column describe(const ContractColumn& column, const std::string& local,
                                  const std::string& owner_dialect) const;
    [[nodiscard]] std::string upsert_sql(const std::vector<std::size_t>& places,
                                         Tombstones tombstones, std::string_view replaces) const;
    [[nodiscard]] std::string remove_sql(std::string_view op) const;
    void write_sql();
    [[nodiscard]] std::string create_table() const;

    /// Keys of text have an index in byte order, which serves scans; see Dialect::key_order().
    [[nodiscard]] std::string_view collation_of(const Column& column) const;
    [[nodiscard]] Result<void> check_key(const TableDescription& standing) const;
    [[nodiscard]] std::optional<SchemaChange> widening(const Column& column,
                                                       const TableDescription& standing,
                                                       const Contract* before) const;
    [[nodiscard]] std::vector<std::string> key_orders() const;

    const Dialect* dialect_;
    std::string table_;
    std::string name_;
    std::int64_t replica_id_ = 0;
    std::vector<Column> columns_;
    std::vector<std::string> sources_;
    std::vector<std::size_t> key_places_;
    std::string key_list_;
    std::string key_wire_;
    std::string upsert_;
    std::string upsert_untombed_;
    std::string restore_;
    std::string restore_untombed_;
    std::string copied_;
    std::string age_;
    std::string bury_;
    std::string remove_;
    std::string remove_as_old_;
    std::string version_of_;
};

/// A table of the application's own that a service file names by mistake must not be filled: its
/// rows would go. Errors: kSchemaMismatch if `table` has rows and no version column; those of
/// Connection.
Result<void> refuse_rows_of_others(Connection& connection, const std::string& table);

/// A comparison of keys with as many parameters from number `first` on: "(a, b) > ($1, $2)".
/// `key_orders` as by Dialect::key_order().
std::string key_comparison(const std::vector<std::string>& key_orders, std::string_view op,
                           std::size_t first);

/// Sixteen zero bytes: older than every version.
extern const std::string kOldestVersion;

}  // namespace instep
