#include "instep/replica/replica.hpp"
#include "replica_store.hpp"
#include "replica_table.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

/// The key's values again, from the text that key_text() made of them.
Result<Row> key_values(std::string_view key, std::size_t columns, ValueArena& arena) {
    if (columns == 1) {
        return Row{key};
    }
    JsonRows json;
    auto values = json.read_array(key, arena);
    if (!values || values->size() != columns) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("a key of {} columns is written as a JSON array, like [1,\"a\"]", columns));
    }
    return values;
}

std::string shown(const ValueView& value) {
    if (std::holds_alternative<std::monostate>(value)) {
        return "NULL";
    }
    return key_text(std::span(&value, 1));
}

Result<void> explain_standing_row(Connection& connection, const ReplicaTable& table,
                                  std::string_view key, RowExplanation& explanation) {
    ValueArena arena;
    INSTEP_TRY_ASSIGN(const Row values, key_values(key, table.key_places().size(), arena));
    const std::string condition = table.version_of().substr(table.version_of().find(" FROM "));
    INSTEP_TRY_ASSIGN(
        auto row, connection.query(fmt::format("SELECT {}, {}{}", kVersionColumn,
                                               table.local_list(table.source_columns()), condition),
                                   values));
    INSTEP_TRY_ASSIGN(const bool standing, row->next());
    if (standing) {
        INSTEP_TRY_ASSIGN(explanation.version, version_from_bytes(row->blob(0)));
        for (std::size_t i = 0; i < table.source_columns().size(); ++i) {
            explanation.row.emplace_back(table.source_columns()[i], shown(row->at(i + 1)));
        }
    }
    return {};
}

}  // namespace

Result<RowExplanation> explain_row(Connection& connection, const ReplicaDefinition& definition,
                                   std::string_view key) {
    INSTEP_TRY_ASSIGN(
        auto replica,
        connection.query("SELECT id, contract FROM instep_replica WHERE table_name = $1",
                         std::initializer_list<ValueView>{std::string_view(definition.table)}));
    INSTEP_TRY_ASSIGN(const bool found, replica->next());
    if (!found || replica->text(1).empty()) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("replica {} has not been filled yet", definition.table));
    }
    const std::int64_t id = replica->integer(0);
    INSTEP_TRY_ASSIGN(const Contract contract, contract_from_json(replica->text(1)));
    INSTEP_TRY_ASSIGN(const ReplicaTable table,
                      ReplicaTable::bind(definition, contract, id, connection.dialect()));
    RowExplanation explanation;
    INSTEP_TRY(explain_standing_row(connection, table, key, explanation));

    INSTEP_TRY_ASSIGN(auto tombstone, connection.query("SELECT version FROM instep_tombstone "
                                                       "WHERE replica = $1 AND key = $2",
                                                       std::initializer_list<ValueView>{id, key}));
    INSTEP_TRY_ASSIGN(const bool buried, tombstone->next());
    if (buried) {
        INSTEP_TRY_ASSIGN(explanation.deleted_at, version_from_bytes(tombstone->blob(0)));
    }
    const std::string subscription = definition.subscription();
    INSTEP_TRY_ASSIGN(
        auto parked,
        connection.query("SELECT error_message, (SELECT count(*) FROM instep_parked_event e "
                         "  WHERE e.subscription = k.subscription AND e.key = k.key) "
                         "FROM instep_parked_key k WHERE subscription = $1 AND key = $2",
                         std::initializer_list<ValueView>{std::string_view(subscription), key}));
    INSTEP_TRY_ASSIGN(const bool waits, parked->next());
    if (waits) {
        explanation.parked_because = parked->text(0);
        explanation.parked_events = static_cast<std::uint64_t>(parked->integer(1));
    }
    return explanation;
}

}  // namespace instep
