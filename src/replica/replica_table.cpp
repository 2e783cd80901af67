#include "replica_table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace instep {

namespace {

std::string parameters(std::size_t first, std::size_t count) {
    std::string list;
    for (std::size_t i = 0; i < count; ++i) {
        list += fmt::format("{}${}", i == 0 ? "" : ", ", first + i);
    }
    return list;
}

/// "k1" = $1 AND "k2" = $2
std::string key_equals(const std::vector<std::string>& quoted_columns, std::size_t first) {
    std::string condition;
    for (std::size_t i = 0; i < quoted_columns.size(); ++i) {
        condition += fmt::format("{}{} = ${}", i == 0 ? "" : " AND ", quoted_columns[i], first + i);
    }
    return condition;
}

std::vector<std::string> pick(const std::vector<std::string>& from,
                              const std::vector<std::size_t>& places) {
    std::vector<std::string> picked;
    for (const std::size_t place : places) {
        picked.push_back(from[place]);
    }
    return picked;
}

}  // namespace

std::string key_comparison(const std::vector<std::string>& quoted_columns, std::string_view op,
                           std::string_view collation, std::size_t first) {
    std::string columns;
    for (const std::string& column : quoted_columns) {
        columns += fmt::format("{}{}{}", columns.empty() ? "" : ", ", column, collation);
    }
    return fmt::format("({}) {} ({})", columns, op, parameters(first, quoted_columns.size()));
}

Result<ReplicaTable> ReplicaTable::bind(const ReplicaDefinition& definition,
                                        const Contract& contract, std::int64_t replica_id,
                                        const Dialect& dialect) {
    ReplicaTable table;
    table.name_ = definition.table;
    table.table_ = dialect.quote(definition.table);
    table.collation_ = dialect.binary_collation();
    table.blob_type_ = dialect.blob_type();
    table.replica_id_ = replica_id;
    std::vector<std::pair<std::string, std::string>> mapping = definition.columns;
    if (mapping.empty()) {
        for (const ContractColumn& column : contract.columns) {
            mapping.emplace_back(column.name, column.name);
        }
    }
    for (const auto& [source, local] : mapping) {
        const ContractColumn* column = contract.find(source);
        if (column == nullptr) {
            return fail(ErrorCode::kSchemaMismatch,
                        fmt::format("replica {} takes column {}, which {} does not publish",
                                    definition.table, source, contract.schema()));
        }
        table.sources_.push_back(source);
        table.local_names_.push_back(local);
        table.locals_.push_back(dialect.quote(local));
        table.types_.push_back(column->declared_type);
    }
    for (const std::string& key : contract.key) {
        const auto place = std::ranges::find(table.sources_, key);
        if (place == table.sources_.end()) {
            return fail(ErrorCode::kSchemaMismatch,
                        fmt::format("replica {} leaves out key column {} of {}", definition.table,
                                    key, contract.schema()));
        }
        table.key_places_.push_back(static_cast<std::size_t>(place - table.sources_.begin()));
    }
    table.write_sql();
    return table;
}

void ReplicaTable::write_sql() {
    const std::size_t columns = locals_.size();
    const std::vector<std::string> keys = pick(locals_, key_places_);
    const std::size_t key_count = keys.size();
    const std::string version(kVersionColumn);
    key_list_ = fmt::format("{}", fmt::join(keys, ", "));

    std::vector<std::size_t> all(columns);
    for (std::size_t i = 0; i < columns; ++i) {
        all[i] = i;
    }
    upsert_ = upsert_sql(all, Tombstones::kHeeded, "<");
    upsert_untombed_ = upsert_sql(all, Tombstones::kKnownAbsent, "<");
    restore_ = upsert_sql(all, Tombstones::kHeeded, "<=");
    restore_untombed_ = upsert_sql(all, Tombstones::kKnownAbsent, "<=");
    age_ =
        fmt::format("UPDATE {} SET {} = x'00000000000000000000000000000000' WHERE {} AND {} > ${}",
                    table_, version, key_equals(keys, 1), version, key_count + 1);
    bury_ = fmt::format(
        "INSERT INTO instep_tombstone (replica, key, version, removed_us) SELECT {0}, ${3}, ${2}, "
        "${4} WHERE NOT EXISTS (SELECT 1 FROM {1} WHERE {5} AND {6} >= ${2}) "
        "ON CONFLICT (replica, key) DO UPDATE SET version = excluded.version, "
        "removed_us = excluded.removed_us WHERE instep_tombstone.version < excluded.version",
        replica_id_, table_, key_count + 1, key_count + 2, key_count + 3, key_equals(keys, 1),
        version);
    const auto remove_where = [&](std::string_view op) {
        return fmt::format("DELETE FROM {} WHERE {} AND {} {} ${}", table_, key_equals(keys, 1),
                           version, op, key_count + 1);
    };
    remove_ = remove_where("<");
    remove_as_old_ = remove_where("<=");
    version_of_ = fmt::format("SELECT {} FROM {} WHERE {}", version, table_, key_equals(keys, 1));
}

std::string ReplicaTable::upsert_of(const std::vector<std::size_t>& places) const {
    return upsert_sql(places, Tombstones::kHeeded, "<");
}

std::string ReplicaTable::upsert_sql(const std::vector<std::size_t>& places, Tombstones tombstones,
                                     std::string_view replaces) const {
    const std::vector<std::string> columns = pick(locals_, places);
    const std::size_t version = columns.size() + 1;
    const std::string values = parameters(1, version);
    const std::string source =
        tombstones == Tombstones::kKnownAbsent
            ? fmt::format("VALUES ({})", values)
            : fmt::format(
                  "SELECT {} WHERE NOT EXISTS (SELECT 1 FROM instep_tombstone "
                  "WHERE replica = {} AND key = ${} AND version >= ${})",
                  values, replica_id_, version + 1, version);
    std::string assignments;
    for (const std::size_t place : places) {
        if (std::ranges::find(key_places_, place) == key_places_.end()) {
            assignments += fmt::format("{0} = excluded.{0}, ", locals_[place]);
        }
    }
    return fmt::format(
        "INSERT INTO {0} ({1}, {2}) {3} ON CONFLICT ({4}) DO UPDATE SET {5}{2} = excluded.{2} "
        "WHERE {0}.{2} {6} excluded.{2}",
        table_, fmt::join(columns, ", "), kVersionColumn, source, key_list_, assignments, replaces);
}

std::string ReplicaTable::where_range(std::string_view after, std::string_view to,
                                      std::string_view extra) const {
    const std::vector<std::string> keys = pick(locals_, key_places_);
    std::vector<std::string> conditions;
    if (!after.empty()) {
        conditions.push_back(key_comparison(keys, ">", collation_, 1));
    }
    if (!to.empty()) {
        conditions.push_back(
            key_comparison(keys, "<=", collation_, conditions.size() * keys.size() + 1));
    }
    if (!extra.empty()) {
        conditions.emplace_back(extra);
    }
    return conditions.empty() ? "" : fmt::format(" WHERE {}", fmt::join(conditions, " AND "));
}

std::string ReplicaTable::select(std::string_view selected) const {
    return fmt::format("SELECT {} FROM {}", selected, table_);
}

std::string ReplicaTable::local_list(const std::vector<std::string>& sources) const {
    std::string list;
    for (const std::string& source : sources) {
        const auto place = std::ranges::find(sources_, source) - sources_.begin();
        list +=
            fmt::format("{}{}", list.empty() ? "" : ", ", locals_[static_cast<std::size_t>(place)]);
    }
    return list;
}

std::string ReplicaTable::create_table() const {
    // Only the key is NOT NULL: a column may leave the contract later, and rows must still fit.
    std::string columns;
    for (std::size_t i = 0; i < locals_.size(); ++i) {
        const bool is_key = std::ranges::find(key_places_, i) != key_places_.end();
        columns += fmt::format("    {} {}{},\n", locals_[i], types_[i], is_key ? " NOT NULL" : "");
    }
    // A single integer key is the row's number itself; for other keys a second tree is saved.
    std::string type = key_places_.size() == 1 ? types_[key_places_.front()] : "";
    std::ranges::transform(type, type.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return fmt::format("CREATE TABLE {} (\n{}    {} {} NOT NULL,\n    PRIMARY KEY ({})\n){}",
                       table_, columns, kVersionColumn, blob_type_, key_list_,
                       type == "INTEGER" ? "" : " WITHOUT ROWID");
}

Result<std::vector<SchemaChange>> ReplicaTable::missing(Connection& connection) const {
    const auto described = connection.dialect().describe_table(connection, name_);
    if (!described && described.error().code == ErrorCode::kNotFound) {
        return std::vector{
            SchemaChange{fmt::format("create replica table {}", name_), create_table()}};
    }
    INSTEP_TRY(described);
    std::vector<std::string> standing = described->key_columns();
    std::vector<std::string> wanted = pick(local_names_, key_places_);
    std::ranges::sort(standing);
    std::ranges::sort(wanted);
    if (standing != wanted) {
        return fail(
            ErrorCode::kSchemaMismatch,
            fmt::format("table {} has primary key ({}), but the replica needs ({}); drop the "
                        "table or choose another name",
                        name_, fmt::join(standing, ", "), fmt::join(wanted, ", ")));
    }
    std::vector<SchemaChange> changes;
    for (std::size_t i = 0; i < locals_.size(); ++i) {
        if (described->find(local_names_[i]) == nullptr) {
            changes.push_back(
                {fmt::format("add column {} to replica {}", local_names_[i], name_),
                 fmt::format("ALTER TABLE {} ADD COLUMN {} {}", table_, locals_[i], types_[i])});
        }
    }
    if (described->find(kVersionColumn) == nullptr) {
        changes.push_back({fmt::format("add the version column to replica {}", name_),
                           fmt::format("ALTER TABLE {} ADD COLUMN {} {} NOT NULL DEFAULT "
                                       "x'00000000000000000000000000000000'",
                                       table_, kVersionColumn, blob_type_)});
    }
    return changes;
}

}  // namespace instep
