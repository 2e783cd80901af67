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

    /// As the two above for rows of chunks, which also replace a row of the same version: it
    /// was read under the same snapshot, so it can only differ by damage.
    [[nodiscard]] const std::string& restore() const { return restore_; }
    [[nodiscard]] const std::string& restore_untombed() const { return restore_untombed_; }

    /// As upsert() for some of the mapped columns, by place; others stay as they are.
    [[nodiscard]] std::string upsert_of(const std::vector<std::size_t>& places) const;

    /// Parameters: the key columns, the version, the key's text, the time. Leaves a tombstone
    /// unless the row or a tombstone is as new.
    [[nodiscard]] const std::string& bury() const { return bury_; }

    /// Parameters: the key columns, the version. Deletes an older row.
    [[nodiscard]] const std::string& remove() const { return remove_; }

    /// The same, also for a row of this very version.
    [[nodiscard]] const std::string& remove_as_old() const { return remove_as_old_; }

    /// Parameters: the key columns, a version. Makes a newer row as old as can be.
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

    /// Quoted local names, comma-separated.
    [[nodiscard]] const std::string& key_list() const { return key_list_; }
    [[nodiscard]] std::string local_list(const std::vector<std::string>& sources) const;

private:
    enum class Tombstones : std::uint8_t { kHeeded, kKnownAbsent };

    ReplicaTable() = default;
    [[nodiscard]] std::string upsert_sql(const std::vector<std::size_t>& places,
                                         Tombstones tombstones, std::string_view replaces) const;
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
    std::string restore_;
    std::string restore_untombed_;
    std::string age_;
    std::string bury_;
    std::string remove_;
    std::string remove_as_old_;
    std::string version_of_;
};

/// A comparison of key columns with as many parameters from number `first` on:
/// "("a", "b") > ($1, $2)", byte by byte for texts.
std::string key_comparison(const std::vector<std::string>& quoted_columns, std::string_view op,
                           std::string_view collation, std::size_t first);

}  // namespace instep
