#include "instep/capture/contract.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <numeric>
#include <set>

namespace instep {

std::string Contract::topic() const { return fmt::format("{}.{}", service, entity); }

std::string Contract::schema() const { return fmt::format("{}/{}", topic(), version); }

const ContractColumn* Contract::find(std::string_view column) const {
    const auto found = std::ranges::find(columns, column, &ContractColumn::name);
    return found == columns.end() ? nullptr : &*found;
}

namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0]++;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
        }
    }
    return row.back();
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

std::vector<std::string> column_names(const TableDescription& table) {
    std::vector<std::string> names;
    for (const ColumnDescription& column : table.columns) {
        names.push_back(column.name);
    }
    return names;
}

Result<void> check_entity(const PublishEntry& entry) {
    const bool plain = std::ranges::all_of(entry.entity, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
    if (entry.entity.empty() || entry.entity.size() > 64 || !plain) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("entity \"{}\" of table {}: use 1 to 64 lower-case letters, digits "
                                "and _",
                                entry.entity, entry.table));
    }
    return {};
}

Result<void> check_names(const PublishEntry& entry, const std::vector<std::string>& names,
                         const TableDescription& table) {
    std::set<std::string_view> seen;
    for (const std::string& name : names) {
        if (table.find(name) == nullptr) {
            const std::string nearest = nearest_name(name, column_names(table));
            return fail(
                ErrorCode::kNotFound,
                fmt::format("table {} has no column {}{}", entry.table, name,
                            nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest)));
        }
        if (!seen.insert(name).second) {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("column {} of table {} is listed twice", name, entry.table));
        }
    }
    return {};
}

bool has_real_affinity(std::string_view declared_type) {
    std::string upper(declared_type);
    std::ranges::transform(upper, upper.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return upper.contains("REAL") || upper.contains("FLOA") || upper.contains("DOUB");
}

Result<void> check_key(const PublishEntry& entry, const TableDescription& table) {
    if (entry.key.empty()) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("table {} is published without a key; set key = \"id\" or a list of "
                        "columns",
                        entry.table));
    }
    std::vector<std::string> declared = table.key_columns();
    std::vector<std::string> wanted = entry.key;
    std::ranges::sort(declared);
    std::ranges::sort(wanted);
    if (declared.empty()) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("table {} has no primary key; only a primary key, and none that is "
                                "deferrable, keeps rows apart for sure",
                                entry.table));
    }
    if (declared != wanted) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("key [{}] of table {} is not its primary key [{}]; only a primary "
                                "key, and none that is deferrable, keeps rows apart for sure",
                                fmt::join(entry.key, ", "), entry.table,
                                fmt::join(table.key_columns(), ", ")));
    }
    for (const std::string& name : entry.key) {
        const ColumnDescription& column = *table.find(name);
        if (!contains(entry.columns, name)) {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("key column {} of table {} is not among its published columns",
                                    name, entry.table));
        }
        const bool is_real = has_real_affinity(column.declared_type);
        if (column.generated || is_real || column.kind == ValueKind::kDecimal) {
            return fail(
                ErrorCode::kUnsupported,
                fmt::format("column {} of table {} cannot be a key: it is {}", name, entry.table,
                            column.generated ? "generated"
                            : is_real        ? "real"
                                             : "a number with decimals"));
        }
    }
    return {};
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates) {
    std::string nearest;
    std::size_t best = std::max<std::size_t>(2, name.size() / 3) + 1;
    for (const std::string& candidate : candidates) {
        const std::size_t distance = edit_distance(name, candidate);
        if (distance < best) {
            best = distance;
            nearest = candidate;
        }
    }
    return nearest;
}

Result<Contract> bind_contract(Connection& connection, std::string_view service,
                               const PublishEntry& entry) {
    INSTEP_TRY(check_entity(entry));
    auto table = connection.dialect().describe_table(connection, entry.table);
    if (!table && table.error().code == ErrorCode::kNotFound) {
        INSTEP_TRY_ASSIGN(const auto tables, connection.dialect().list_tables(connection));
        const std::string nearest = nearest_name(entry.table, tables);
        return fail(ErrorCode::kNotFound,
                    fmt::format("there is no table {}{}", entry.table,
                                nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest)));
    }
    INSTEP_TRY(table);
    INSTEP_TRY(check_names(entry, entry.columns, *table));
    INSTEP_TRY(check_names(entry, entry.key, *table));
    INSTEP_TRY(check_key(entry, *table));

    Contract contract;
    contract.service = service;
    contract.table = entry.table;
    contract.entity = entry.entity;
    contract.dialect = connection.dialect().name();
    contract.key = entry.key;
    for (const std::string& name : entry.columns) {
        const ColumnDescription& column = *table->find(name);
        contract.columns.push_back(ContractColumn{name, column.declared_type, column.kind,
                                                  column.not_null, contains(entry.personal, name)});
    }
    for (const std::string& name : entry.personal) {
        if (contract.find(name) == nullptr) {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("personal column {} of table {} is not among its published "
                                    "columns",
                                    name, entry.table));
        }
    }
    return contract;
}

std::string to_json(const Contract& contract) {
    nlohmann::ordered_json columns = nlohmann::ordered_json::array();
    for (const ContractColumn& column : contract.columns) {
        columns.push_back({{"name", column.name},
                           {"type", column.declared_type},
                           {"kind", to_string(column.kind)},
                           {"not_null", column.not_null},
                           {"personal", column.personal}});
    }
    const nlohmann::ordered_json json = {
        {"service", contract.service}, {"table", contract.table},     {"entity", contract.entity},
        {"dialect", contract.dialect}, {"version", contract.version}, {"key", contract.key},
        {"columns", columns}};
    return json.dump();
}

Result<Contract> contract_from_json(std::string_view text) {
    try {
        const auto json = nlohmann::json::parse(text);
        Contract contract;
        json.at("service").get_to(contract.service);
        json.at("table").get_to(contract.table);
        json.at("entity").get_to(contract.entity);
        json.at("dialect").get_to(contract.dialect);
        json.at("version").get_to(contract.version);
        json.at("key").get_to(contract.key);
        for (const auto& column : json.at("columns")) {
            INSTEP_TRY_ASSIGN(const ValueKind kind,
                              parse_value_kind(column.at("kind").get<std::string>()));
            contract.columns.push_back(ContractColumn{
                column.at("name").get<std::string>(), column.at("type").get<std::string>(), kind,
                column.at("not_null").get<bool>(), column.at("personal").get<bool>()});
        }
        return contract;
    } catch (const nlohmann::json::exception& error) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("a stored contract cannot be read: {}", error.what()));
    }
}

}  // namespace instep
