#include "instep/event/event.hpp"
#include "triggers.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

constexpr std::string_view kPrefix = "instep_capture_";

/// A value as JSON. SQLite types values, not columns, so the choice is made for each value:
/// a real must keep all its digits (json_object alone writes 15), bytes and infinities are no
/// JSON and would make the application's own statement fail. Text that a JSON function just
/// made still counts as JSON in NEW; joined with '' it is text again.
std::string json_value(const std::string& column) {
    return fmt::format(
        "CASE typeof({0}) WHEN 'real' THEN CASE WHEN {0} = 9e999 THEN json_object('real', "
        "'Infinity') WHEN {0} = -9e999 THEN json_object('real', '-Infinity') ELSE "
        "json(quote({0})) END WHEN 'blob' THEN json_object('hex', hex({0})) "
        "WHEN 'text' THEN {0} || '' ELSE {0} END",
        column);
}

std::string json_row(const Contract& contract, const Dialect& dialect, std::string_view row) {
    std::string members;
    for (const ContractColumn& column : contract.columns) {
        members += fmt::format("{}{}, {}", members.empty() ? "" : ", ", text_literal(column.name),
                               json_value(column_of(dialect, row, column.name)));
    }
    return fmt::format("json_object({})", members);
}

std::string json_key(const Contract& contract, const Dialect& dialect, std::string_view row) {
    std::string members;
    for (const std::string& column : contract.key) {
        members += fmt::format("{}{}, {}", members.empty() ? "" : ", ", text_literal(column),
                               json_value(column_of(dialect, row, column)));
    }
    return fmt::format("json_object({})", members);
}

/// The join gives a row also if somebody emptied instep_context: a lost context must never
/// become a lost event.
std::string append_statement(const Contract& contract, const Dialect& dialect, std::string_view row,
                             std::string_view action, Operation operation) {
    const std::string data = operation == Operation::kDelete ? json_key(contract, dialect, row)
                                                             : json_row(contract, dialect, row);
    return fmt::format(
        "  INSERT INTO instep_log (topic, key, type, operation, schema, correlation_id, "
        "causation_id, trace_parent, data)\n"
        "  SELECT {}, {}, {}, {}, {}, c.correlation_id, c.causation_id, c.trace_parent,\n"
        "    {}\n"
        "  FROM (SELECT 1) LEFT JOIN instep_context c;\n",
        text_literal(contract.topic()), sqlite_key(contract, dialect, row),
        text_literal(fmt::format("{}.{}", contract.entity, action)), static_cast<int>(operation),
        text_literal(contract.schema()), data);
}

/// True in SQL if any of the columns changed, byte for byte, whatever their collation.
template <class Columns, class Name>
std::string any_changed(const Columns& columns, const Dialect& dialect, Name name) {
    std::string condition;
    for (const auto& column : columns) {
        condition +=
            fmt::format("{}OLD.{} COLLATE BINARY IS NOT NEW.{}", condition.empty() ? "" : " OR ",
                        dialect.quote(name(column)), dialect.quote(name(column)));
    }
    return condition;
}

}  // namespace

std::string sqlite_key(const Contract& contract, const Dialect& dialect, std::string_view row) {
    if (contract.key.size() == 1) {
        const std::string value = column_of(dialect, row, contract.key.front());
        return fmt::format("CASE typeof({0}) WHEN 'blob' THEN hex({0}) ELSE CAST({0} AS TEXT) END",
                           value);
    }
    std::string members;
    for (const std::string& name : contract.key) {
        const std::string value = column_of(dialect, row, name);
        members += fmt::format(
            "{0}CASE typeof({1}) WHEN 'blob' THEN hex({1}) WHEN 'text' THEN "
            "{1} || '' ELSE {1} END",
            members.empty() ? "" : ", ", value);
    }
    return fmt::format("json_array({})", members);
}

Result<StandingTriggers> standing_in_sqlite(Connection& connection) {
    INSTEP_TRY_ASSIGN(auto rows,
                      connection.query("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' "
                                       "AND name LIKE 'instep\\_capture\\_%' ESCAPE '\\'",
                                       {}));
    StandingTriggers triggers;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return triggers;
        }
        triggers.emplace(rows->text(0),
                         StandingTrigger{std::string(rows->text(1)),
                                         fmt::format("DROP TRIGGER {}",
                                                     connection.dialect().quote(rows->text(0)))});
    }
}

std::vector<Trigger> sqlite_triggers(const Contract& contract, const Dialect& dialect) {
    const std::string prefix = fmt::format("{}{}_", kPrefix, contract.entity);
    const std::string table = dialect.quote_table(contract.table);
    const std::string key_changed =
        any_changed(contract.key, dialect, [](const std::string& name) { return name; });
    const std::string row_changed = any_changed(
        contract.columns, dialect, [](const ContractColumn& column) { return column.name; });
    const auto append = [&](std::string_view row, std::string_view action, Operation operation) {
        return append_statement(contract, dialect, row, action, operation);
    };
    const auto trigger = [&](std::string_view name, std::string_view event, std::string_view when,
                             const std::string& body) {
        const std::string full = prefix + std::string(name);
        std::string sql =
            fmt::format("CREATE TRIGGER {} AFTER {} ON {}{}{}\nBEGIN\n{}END", dialect.quote(full),
                        event, table, when.empty() ? "" : " WHEN ", when, body);
        return Trigger{full, sql, sql};
    };
    return {trigger("insert", "INSERT", "", append("NEW", "created", Operation::kUpsert)),
            trigger("update", "UPDATE", fmt::format("NOT ({}) AND ({})", key_changed, row_changed),
                    append("NEW", "updated", Operation::kUpsert)),
            trigger("rekey", "UPDATE", key_changed,
                    append("OLD", "deleted", Operation::kDelete) +
                        append("NEW", "created", Operation::kUpsert)),
            trigger("delete", "DELETE", "", append("OLD", "deleted", Operation::kDelete))};
}

}  // namespace instep
