#include "row_events.hpp"

#include "instep/event/json_writer.hpp"
#include "row_json.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::wal {

namespace {

using pgoutput::Field;
using pgoutput::FieldKind;
using pgoutput::Tuple;

void add_member(std::string& object, std::string_view name, std::string_view json) {
    object += object.empty() ? "{\"" : ",\"";
    for (const char c : name) {
        // As triggers write names: as they are, but for what JSON has to escape.
        object += c == '"' || c == '\\' ? std::string{'\\', c} : std::string{c};
    }
    object += "\":";
    object += json;
}

}  // namespace

void PublishedTable::place_columns(const pgoutput::Relation& relation) {
    places_.clear();
    for (const ContractColumn& column : contract_.columns) {
        const auto found =
            std::ranges::find(relation.columns, column.name, &pgoutput::Column::name);
        places_.push_back(found == relation.columns.end() ? std::nullopt
                                                          : std::optional(static_cast<std::size_t>(
                                                                found - relation.columns.begin())));
    }
}

const Field* PublishedTable::field(Tuple tuple, std::size_t column) const {
    const auto place = column < places_.size() ? places_[column] : std::nullopt;
    return place && *place < tuple.size() ? &tuple[*place] : nullptr;
}

std::size_t PublishedTable::place_of(const std::string& column) const {
    return static_cast<std::size_t>(
        std::ranges::find(contract_.columns, column, &ContractColumn::name) -
        contract_.columns.begin());
}

std::string PublishedTable::key_of(Tuple tuple) const {
    std::string members;
    for (const std::string& name : contract_.key) {
        const std::size_t place = place_of(name);
        const ContractColumn& column = contract_.columns[place];
        const Field* value = field(tuple, place);
        const std::string text = key_value(column, value == nullptr ? "" : value->bytes);
        if (contract_.key.size() == 1) {
            return text;
        }
        members += members.empty() ? "[" : ",";
        if (is_text_in_key(column)) {
            append_json_string(members, text);
        } else {
            members += text;
        }
    }
    return members + ']';
}

std::string PublishedTable::key_object(Tuple tuple) const {
    std::string object;
    for (const std::string& name : contract_.key) {
        const std::size_t place = place_of(name);
        const Field* value = field(tuple, place);
        add_member(object, name,
                   json_of(contract_.columns[place], value == nullptr ? "" : value->bytes));
    }
    return object + '}';
}

std::string PublishedTable::row_object(Tuple tuple) const {
    std::string object;
    for (std::size_t i = 0; i < contract_.columns.size(); ++i) {
        const Field* value = field(tuple, i);
        if (value == nullptr || value->kind == FieldKind::kUnchanged) {
            continue;
        }
        add_member(
            object, contract_.columns[i].name,
            value->kind == FieldKind::kNull ? "null" : json_of(contract_.columns[i], value->bytes));
    }
    return object + '}';
}

TopicEvent PublishedTable::event(std::string_view action, Operation operation, std::string key,
                                 std::string data) const {
    TopicEvent made;
    made.topic = contract_.topic();
    made.event.source = contract_.service;
    made.event.key = std::move(key);
    made.event.type = fmt::format("{}.{}", contract_.entity, action);
    made.event.operation = operation;
    made.event.schema = contract_.schema();
    made.event.data = std::move(data);
    return made;
}

std::vector<TopicEvent> PublishedTable::inserted(const pgoutput::Insert& change) const {
    return {event("created", Operation::kUpsert, key_of(change.row), row_object(change.row))};
}

std::vector<TopicEvent> PublishedTable::deleted(const pgoutput::Delete& change) const {
    return {event("deleted", Operation::kDelete, key_of(change.old), key_object(change.old))};
}

/// Byte for byte, whatever their types hold equal.
bool PublishedTable::touches_nothing(Tuple before, Tuple after) const {
    for (std::size_t i = 0; i < contract_.columns.size(); ++i) {
        const Field* was = field(before, i);
        const Field* is = field(after, i);
        if (was == nullptr || is == nullptr || is->kind == FieldKind::kUnchanged) {
            continue;
        }
        if (was->kind != is->kind || was->bytes != is->bytes) {
            return false;
        }
    }
    return true;
}

std::vector<std::string> PublishedTable::unchanged(Tuple tuple) const {
    std::vector<std::string> columns;
    for (std::size_t i = 0; i < contract_.columns.size(); ++i) {
        const Field* value = field(tuple, i);
        if (value != nullptr && value->kind == FieldKind::kUnchanged) {
            columns.push_back(contract_.columns[i].name);
        }
    }
    return columns;
}

Result<std::vector<TopicEvent>> PublishedTable::updated(const pgoutput::Update& change,
                                                        const Fetch& fetch) const {
    std::vector<Field> row(change.row.begin(), change.row.end());
    if (change.old_kind == pgoutput::OldTuple::kFull) {
        for (std::size_t i = 0; i < row.size() && i < change.old.size(); ++i) {
            row[i] = row[i].kind == FieldKind::kUnchanged ? change.old[i] : row[i];
        }
        if (touches_nothing(change.old, row)) {
            return std::vector<TopicEvent>{};
        }
    }
    const std::string key = key_of(row);
    const bool rekeyed = change.old_kind != pgoutput::OldTuple::kNone && key_of(change.old) != key;
    if (!rekeyed) {
        return std::vector{event("updated", Operation::kUpsert, key, row_object(row))};
    }
    std::vector<std::optional<std::string>> fetched;
    if (const auto missing = unchanged(row); !missing.empty()) {
        std::vector<std::string> values;
        for (const std::string& name : contract_.key) {
            const Field* value = field(row, place_of(name));
            values.emplace_back(value == nullptr ? "" : value->bytes);
        }
        INSTEP_TRY_ASSIGN(auto found, fetch(contract_, missing, values));
        fetched = found ? *std::move(found) : std::vector<std::optional<std::string>>();
        for (std::size_t i = 0; i < fetched.size(); ++i) {
            Field& value = row[*places_[place_of(missing[i])]];
            value = fetched[i] ? Field{FieldKind::kText, *fetched[i]} : Field{};
        }
    }
    return std::vector{
        event("deleted", Operation::kDelete, key_of(change.old), key_object(change.old)),
        event("created", Operation::kUpsert, key, row_object(row))};
}

}  // namespace instep::wal
