#include "instep/capture/capture.hpp"
#include "instep/db/dialect.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace instep {

namespace {

/// Names that no service should let out, published or not by mistake.
bool sounds_secret(std::string_view column) {
    static constexpr std::array<std::string_view, 7> kWords = {
        "password", "passwd", "secret", "token", "private_key", "api_key", "mfa"};
    std::string lower(column);
    std::ranges::transform(lower, lower.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return std::ranges::any_of(kWords, [&](std::string_view word) { return lower.contains(word); });
}

void look_at_columns(const Contract& contract, const TableDescription& table,
                     std::vector<Finding>& findings) {
    std::vector<std::string> kept_back;
    for (const ColumnDescription& column : table.columns) {
        const bool published = contract.find(column.name) != nullptr;
        if (published && sounds_secret(column.name)) {
            findings.push_back({Finding::Severity::kWarning, "table " + contract.table,
                                fmt::format("column {} leaves the service, and its name sounds "
                                            "secret",
                                            column.name),
                                "take it out of `columns` unless consumers must have it"});
        }
        if (!published) {
            kept_back.push_back(column.name);
        }
    }
    if (!kept_back.empty()) {
        findings.push_back({Finding::Severity::kNote, "table " + contract.table,
                            fmt::format("stays private: {}", fmt::join(kept_back, ", ")), ""});
    }
}

void look_at_indexes(const Contract& contract, const TableDescription& table,
                     std::vector<Finding>& findings) {
    if (!table.unique_indexes.empty()) {
        findings.push_back(
            {Finding::Severity::kWarning, "table " + contract.table,
             fmt::format("has unique indexes besides its key ({}): INSERT OR REPLACE can remove a "
                         "row through them without any trigger",
                         fmt::join(table.unique_indexes, ", ")),
             "use INSERT ... ON CONFLICT DO UPDATE on this table; `instep verify` finds what was "
             "missed"});
    }
}

/// For an entry that does not fit its table.
std::string fix_of(Connection& connection, const PublishEntry& entry) {
    const Dialect& dialect = connection.dialect();
    const auto table = dialect.describe_table(connection, entry.table);
    const bool lacks_key = table && table->key_columns().empty() && !entry.key.empty() &&
                           std::ranges::all_of(entry.key, [&](const std::string& name) {
                               return table->find(name) != nullptr;
                           });
    if (!lacks_key || dialect.name() == "sqlite") {
        return "correct the [[publish]] entry";
    }
    std::vector<std::string> columns;
    for (const std::string& name : entry.key) {
        columns.push_back(dialect.quote(name));
    }
    return fmt::format("ALTER TABLE {} ADD PRIMARY KEY ({});", dialect.quote_table(entry.table),
                       fmt::join(columns, ", "));
}

}  // namespace

Result<std::vector<Finding>> preflight(Connection& connection, std::string_view service,
                                       std::span<const PublishEntry> entries) {
    std::vector<Finding> findings;
    for (const PublishEntry& entry : entries) {
        auto contract = bind_contract(connection, service, entry);
        if (!contract) {
            findings.push_back({Finding::Severity::kProblem, "table " + entry.table,
                                contract.error().message, fix_of(connection, entry)});
            continue;
        }
        INSTEP_TRY_ASSIGN(const TableDescription table,
                          connection.dialect().describe_table(connection, entry.table));
        look_at_columns(*contract, table, findings);
        if (contract->dialect == "sqlite") {
            look_at_indexes(*contract, table, findings);
        }
    }
    return findings;
}

}  // namespace instep
