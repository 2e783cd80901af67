#include "replica_table.hpp"

#include "row_source.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

namespace instep {

namespace {

/// "k1" = $1 AND "k2" = $2
template <class Reference>
std::string key_equals(const std::vector<std::string>& columns, Reference reference) {
    std::string condition;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        condition += fmt::format("{}{} = {}", i == 0 ? "" : " AND ", columns[i], reference(i));
    }
    return condition;
}

std::string plain_parameter(std::size_t place) { return fmt::format("${}", place + 1); }

/// Every version is newer than that of the rows that stand.
std::string add_version_column(const std::string& table, const Dialect& dialect) {
    const bool is_sqlite = dialect.name() == "sqlite";
    return fmt::format("ALTER TABLE {} ADD COLUMN {} {} NOT NULL DEFAULT {}{:032}'", table,
                       kVersionColumn, dialect.column_type(ValueKind::kBytes),
                       is_sqlite ? "x'" : "'\\x", 0);
}

}  // namespace

const std::string kOldestVersion(16, '\0');

std::string key_comparison(const std::vector<std::string>& key_orders, std::string_view op,
                           std::size_t first) {
    std::string parameters;
    for (std::size_t i = 0; i < key_orders.size(); ++i) {
        parameters += fmt::format("{}${}", i == 0 ? "" : ", ", first + i);
    }
    return fmt::format("({}) {} ({})", fmt::join(key_orders, ", "), op, parameters);
}

ReplicaTable::Column ReplicaTable::describe(const ContractColumn& column, const std::string& local,
                                            const std::string& owner_dialect) const {
    Column described;
    described.source = column.name;
    described.local = local;
    described.quoted = dialect_->quote(local);
    described.kind = column.kind;
    described.type = owner_dialect == dialect_->name() ? column.declared_type
                                                       : dialect_->column_type(column.kind);
    described.wire = dialect_->wire_expression(described.quoted, column.kind, described.type);
    described.order = dialect_->key_order(described.quoted, column.kind, described.type);
    return described;
}

Result<ReplicaTable> ReplicaTable::bind(const ReplicaDefinition& definition,
                                        const Contract& contract, std::int64_t replica_id,
                                        const Dialect& dialect) {
    ReplicaTable table(dialect);
    table.name_ = definition.table;
    table.table_ = dialect.quote_table(definition.table);
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
        table.columns_.push_back(table.describe(*column, local, contract.dialect));
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
    std::vector<std::string> keys;
    std::vector<std::string> wires;
    RowSource row(*dialect_);
    for (const std::size_t place : key_places_) {
        const Column& column = columns_[place];
        keys.push_back(column.quoted);
        wires.push_back(column.wire);
        row.add(column.kind, column.type);
    }
    const std::size_t version = row.add_version();
    const std::size_t key_text = row.add(ValueKind::kText, "text");
    const std::size_t time = row.add(ValueKind::kInteger, "bigint");
    key_list_ = fmt::format("{}", fmt::join(keys, ", "));
    key_wire_ = fmt::format("{}", fmt::join(wires, ", "));

    std::vector<std::size_t> all(columns_.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    for (const Column& column : columns_) {
        copied_ += column.quoted + ", ";
    }
    copied_ += kVersionColumn;
    upsert_ = upsert_sql(all, Tombstones::kHeeded, "<");
    upsert_untombed_ = upsert_sql(all, Tombstones::kKnownAbsent, "<");
    restore_ = upsert_sql(all, Tombstones::kHeeded, "<=");
    restore_untombed_ = upsert_sql(all, Tombstones::kKnownAbsent, "<=");
    const std::string own_row = key_equals(keys, [&](std::size_t i) { return row.value(i); });
    bury_ = fmt::format(
        "INSERT INTO instep_tombstone (replica, key, version, removed_us) SELECT {0}, {1}, {2}, "
        "{3} {4} NOT EXISTS (SELECT 1 FROM {5} t WHERE {6} AND t.{7} >= {2}) "
        "ON CONFLICT (replica, key) DO UPDATE SET version = excluded.version, "
        "removed_us = excluded.removed_us WHERE instep_tombstone.version < excluded.version{8}",
        replica_id_, row.value(key_text), row.value(version), row.value(time), row.from_where(),
        table_, own_row, kVersionColumn, row.returning("key"));
    remove_ = remove_sql("<");
    remove_as_old_ = remove_sql("<=");
    const std::string plain_row = key_equals(keys, plain_parameter);
    age_ = fmt::format("UPDATE {0} SET {1} = ${2} WHERE {3} AND {1} > ${4}", table_, kVersionColumn,
                       keys.size() + 2, plain_row, keys.size() + 1);
    version_of_ = fmt::format("SELECT {} FROM {} WHERE {}", kVersionColumn, table_, plain_row);
}

std::string ReplicaTable::remove_sql(std::string_view op) const {
    RowSource row(*dialect_);
    std::vector<std::string> keys;
    for (const std::size_t place : key_places_) {
        row.add(columns_[place].kind, columns_[place].type);
        keys.push_back(fmt::format("{}.{}", table_, columns_[place].quoted));
    }
    const std::size_t version = row.add_version();
    return fmt::format("DELETE FROM {0} {1} {2} AND {0}.{3} {4} {5}", table_, row.using_where(),
                       key_equals(keys, [&](std::size_t i) { return row.value(i); }),
                       kVersionColumn, op, row.value(version));
}

std::string ReplicaTable::upsert_of(const std::vector<std::size_t>& places) const {
    return upsert_sql(places, Tombstones::kHeeded, "<");
}

std::string ReplicaTable::upsert_sql(const std::vector<std::size_t>& places, Tombstones tombstones,
                                     std::string_view replaces) const {
    RowSource row(*dialect_);
    std::vector<std::string> names;
    std::vector<std::string> values;
    std::string assignments;
    for (const std::size_t place : places) {
        const Column& column = columns_[place];
        names.push_back(column.quoted);
        values.push_back(row.value(row.add(column.kind, column.type)));
        if (std::ranges::find(key_places_, place) == key_places_.end()) {
            assignments += fmt::format("{0} = excluded.{0}, ", column.quoted);
        }
    }
    const std::string version = row.value(row.add_version());
    values.push_back(version);
    std::string source = row.rows_of(values);
    if (tombstones == Tombstones::kHeeded) {
        const std::string key = row.value(row.add(ValueKind::kText, "text"));
        source = fmt::format(
            "SELECT {} {} NOT EXISTS (SELECT 1 FROM instep_tombstone d "
            "WHERE d.replica = {} AND d.key = {} AND d.version >= {})",
            fmt::join(values, ", "), row.from_where(), replica_id_, key, version);
    }
    return fmt::format(
        "INSERT INTO {0} ({1}, {2}) {3} ON CONFLICT ({4}) DO UPDATE SET {5}{2} = excluded.{2} "
        "WHERE {0}.{2} {6} excluded.{2}{7}",
        table_, fmt::join(names, ", "), kVersionColumn, source, key_list_, assignments, replaces,
        row.returning(key_wire_));
}

std::vector<std::string> ReplicaTable::key_orders() const {
    std::vector<std::string> orders;
    for (const std::size_t place : key_places_) {
        orders.push_back(columns_[place].order);
    }
    return orders;
}

std::string ReplicaTable::where_range(std::string_view after, std::string_view to,
                                      std::string_view extra) const {
    const std::vector<std::string> keys = key_orders();
    std::vector<std::string> conditions;
    if (!after.empty()) {
        conditions.push_back(key_comparison(keys, ">", 1));
    }
    if (!to.empty()) {
        conditions.push_back(key_comparison(keys, "<=", conditions.size() * keys.size() + 1));
    }
    if (!extra.empty()) {
        conditions.emplace_back(extra);
    }
    return conditions.empty() ? "" : fmt::format(" WHERE {}", fmt::join(conditions, " AND "));
}

std::string ReplicaTable::in_key_order(std::uint32_t limit) const {
    return fmt::format(" ORDER BY {} LIMIT {}", fmt::join(key_orders(), ", "), limit);
}

std::string ReplicaTable::select(std::string_view selected) const {
    return fmt::format("SELECT {} FROM {}", selected, table_);
}

std::string ReplicaTable::local_list(const std::vector<std::string>& sources) const {
    std::string list;
    for (const std::string& source : sources) {
        const auto column = std::ranges::find(columns_, source, &Column::source);
        list += fmt::format("{}{}", list.empty() ? "" : ", ", column->wire);
    }
    return list;
}

std::string ReplicaTable::create_table() const {
    // Only the key is NOT NULL: a column may leave the contract later, and rows must still fit.
    const bool is_sqlite = dialect_->name() == "sqlite";
    std::string columns;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        const Column& column = columns_[i];
        const bool is_key = std::ranges::find(key_places_, i) != key_places_.end();
        columns += fmt::format("    {} {}{}{},\n", column.quoted, column.type,
                               is_key ? collation_of(column) : "", is_key ? " NOT NULL" : "");
    }
    // A single integer key is the row's number itself; for other keys a second tree is saved.
    std::string type = key_places_.size() == 1 ? columns_[key_places_.front()].type : "";
    std::ranges::transform(type, type.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return fmt::format("CREATE TABLE {} (\n{}    {} {} NOT NULL,\n    PRIMARY KEY ({})\n){}",
                       table_, columns, kVersionColumn, dialect_->column_type(ValueKind::kBytes),
                       key_list_, is_sqlite && type != "INTEGER" ? " WITHOUT ROWID" : "");
}

std::string_view ReplicaTable::collation_of(const Column& column) const {
    return column.order.contains("::text COLLATE \"C\"") ? " COLLATE \"C\"" : "";
}

Result<void> ReplicaTable::check_key(const TableDescription& standing) const {
    std::vector<std::string> stands = standing.key_columns();
    std::vector<std::string> wanted;
    for (const std::size_t place : key_places_) {
        wanted.push_back(columns_[place].local);
    }
    std::ranges::sort(stands);
    std::ranges::sort(wanted);
    if (stands != wanted) {
        return fail(
            ErrorCode::kSchemaMismatch,
            fmt::format("table {} has primary key ({}), but the replica needs ({}); drop the "
                        "table or choose another name",
                        name_, fmt::join(stands, ", "), fmt::join(wanted, ", ")));
    }
    return {};
}

std::optional<SchemaChange> ReplicaTable::widening(const Column& column,
                                                   const TableDescription& standing,
                                                   const Contract* before) const {
    const ContractColumn* earlier = before == nullptr ? nullptr : before->find(column.source);
    if (earlier == nullptr) {
        return std::nullopt;
    }
    const std::string& stands = standing.find(column.local)->declared_type;
    const bool is_ours = describe(*earlier, column.local, before->dialect).type == stands;
    if (!is_ours || !dialect_->widens(stands, column.type)) {
        return std::nullopt;
    }
    const bool is_key = standing.find(column.local)->key_position != 0;
    return SchemaChange{
        fmt::format("widen column {} of replica {} from {} to {}", column.local, name_, stands,
                    column.type),
        fmt::format("ALTER TABLE {} ALTER COLUMN {} TYPE {}{}", table_, column.quoted, column.type,
                    is_key ? collation_of(column) : "")};
}

Result<std::vector<SchemaChange>> ReplicaTable::missing(Connection& connection,
                                                        const Contract* before) const {
    const auto described = dialect_->describe_table(connection, name_);
    if (!described && described.error().code == ErrorCode::kNotFound) {
        return std::vector{
            SchemaChange{fmt::format("create replica table {}", name_), create_table()}};
    }
    INSTEP_TRY(described);
    INSTEP_TRY(check_key(*described));
    std::vector<SchemaChange> changes;
    for (const Column& column : columns_) {
        if (described->find(column.local) == nullptr) {
            changes.push_back({fmt::format("add column {} to replica {}", column.local, name_),
                               fmt::format("ALTER TABLE {} ADD COLUMN {} {}", table_, column.quoted,
                                           column.type)});
        } else if (auto wider = widening(column, *described, before)) {
            changes.push_back(*std::move(wider));
        }
    }
    if (described->find(kVersionColumn) == nullptr) {
        INSTEP_TRY(refuse_rows_of_others(connection, name_));
        changes.push_back({fmt::format("add the version column to replica {}", name_),
                           add_version_column(table_, *dialect_)});
    }
    return changes;
}

Result<void> refuse_rows_of_others(Connection& connection, const std::string& table) {
    const Dialect& dialect = connection.dialect();
    const auto described = dialect.describe_table(connection, table);
    if (!described && described.error().code == ErrorCode::kNotFound) {
        return {};
    }
    INSTEP_TRY(described);
    if (described->find(kVersionColumn) != nullptr) {
        return {};
    }
    const std::string quoted = dialect.quote_table(table);
    INSTEP_TRY_ASSIGN(const auto rows,
                      connection.query(fmt::format("SELECT 1 FROM {} LIMIT 1", quoted), {}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return {};
    }
    return fail(
        ErrorCode::kSchemaMismatch,
        fmt::format("table {} holds rows that no replica brought, and they would be replaced by "
                    "the owner's; name another table, or empty this one; to hand its rows over: {}",
                    table, add_version_column(quoted, dialect)));
}

}  // namespace instep
