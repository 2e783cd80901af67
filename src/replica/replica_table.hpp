// The local table of a replica: which columns it takes from the contract, and its SQL.
#pragma once

#include "instep/capture/contract.hpp"
#include "instep/db/dialect.hpp"
#include "instep/replica/replica.hpp"

#include <cstdint>
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

    /// What the catalogue lacks: the table, mapped columns, the version column. Errors:
    /// kSchemaMismatch if an existing table has another primary key.
    [[nodiscard]] Result<std::vector<SchemaChange>> missing(Connection& connection) const;

    /// The owner's names of the mapped columns; key columns among them.
    [[nodiscard]] const std::vector<std::string>& source_columns() const { return sources_; }

    /// Places of the key columns in source_columns(), in key order.
    [[nodiscard]] const std::vector<std::size_t>& key_places() const { return key_places_; }

    [[nodiscard]] std::int64_t replica_id() const { return replica_id_; }

    /// Parameters: the mapped columns, the version, the key's text. Writes nothing where the row
    /// or a tombstone is as new.
    [[nodiscard]] const std::string& upsert() const { return upsert_; }

    /// The same without looking for tombstones and without the key's text.
    [[nodiscard]] const std::string& upsert_untombed() const { return upsert_untombed_; }

    /// As upsert() for some of the mapped columns, by place; others stay as they are.
    [[nodiscard]] std::string upsert_of(const std::vector<std::size_t>& places) const;

    /// Parameters: the key columns, the version, the key's text, the time. Leaves a tombstone
    /// unless the row or a tombstone is as new.
    [[nodiscard]] const std::string& bury() const { return bury_; }

    /// Parameters: the key columns, the version. Deletes an older row.
    [[nodiscard]] const std::string& remove() const { return remove_; }

    /// Parameters: the key columns. The row's version.
    [[nodiscard]] const std::string& version_of() const { return version_of_; }

    /// Selects `selected` (local names, quoted, comma-separated) from the rows behind `after`
    /// and up to `to`, where `after` and `to` tell whether there is such a bound; key columns
    /// of `after`, then of `to`, are the first parameters. `extra` joins the WHERE clause.
    [[nodiscard]] std::string select_range(std::string_view selected, bool after, bool to,
                                           std::string_view extra) const;

    /// Quoted local names, comma-separated.
    [[nodiscard]] const std::string& key_list() const { return key_list_; }
    [[nodiscard]] std::string local_list(const std::vector<std::string>& sources) const;

private:
    enum class Tombstones : std::uint8_t { kHeeded, kKnownAbsent };

    ReplicaTable() = default;
    [[nodiscard]] std::string upsert_sql(const std::vector<std::size_t>& places,
                                         Tombstones tombstones) const;
    void write_sql();
    [[nodiscard]] std::string create_table() const;

    std::string table_;
    std::string name_;
    std::string collation_;
    std::string blob_type_;
    std::int64_t replica_id_ = 0;
    std::vector<std::string> sources_;
    std::vector<std::string> locals_;
    std::vector<std::string> local_names_;
    std::vector<std::string> types_;
    std::vector<std::size_t> key_places_;
    std::string key_list_;
    std::string upsert_;
    std::string upsert_untombed_;
    std::string bury_;
    std::string remove_;
    std::string version_of_;
};

/// A comparison of key columns with as many parameters from number `first` on:
/// "("a", "b") > ($1, $2)", byte by byte for texts.
std::string key_comparison(const std::vector<std::string>& quoted_columns, std::string_view op,
                           std::string_view collation, std::size_t first);

}  // namespace instep
