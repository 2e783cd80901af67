#include "instep/capture/contract_schema.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace instep {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kDraft = "https://json-schema.org/draft/2020-12/schema";

/// As capture triggers write a value of this kind.
Json schema_of(const ContractColumn& column, bool is_sqlite) {
    Json schema;
    std::vector<std::string> types;
    switch (column.kind) {
        case ValueKind::kInteger:
            types = {"integer"};
            break;
        case ValueKind::kReal:
            types = {"number", "object"};
            schema["properties"] = {{"real", {{"type", "string"}}}};
            schema["required"] = Json::array({"real"});
            break;
        case ValueKind::kDecimal:
            types = is_sqlite ? std::vector<std::string>{"number", "string"}
                              : std::vector<std::string>{"string"};
            break;
        case ValueKind::kBoolean:
            types = {is_sqlite ? "integer" : "boolean"};
            break;
        case ValueKind::kBytes:
            types = {"object"};
            schema["properties"] = {{"hex", {{"type", "string"}}}};
            schema["required"] = Json::array({"hex"});
            break;
        case ValueKind::kText:
            types = {"string"};
            break;
    }
    if (!column.not_null) {
        types.emplace_back("null");
    }
    schema["type"] = types.size() == 1 ? Json(types.front()) : Json(types);
    schema["x-column-type"] = column.declared_type;
    if (column.personal) {
        schema["x-personal"] = true;
    }
    return schema;
}

std::string data_schema(std::span<const ContractColumn> columns, bool is_sqlite) {
    Json properties = Json::object();
    Json required = Json::array();
    for (const ContractColumn& column : columns) {
        properties[column.name] = schema_of(column, is_sqlite);
        if (column.not_null) {
            required.push_back(column.name);
        }
    }
    return Json{{"type", "object"}, {"properties", properties}, {"required", required}}.dump();
}

}  // namespace

std::vector<PublishedEvent> published_events(const Contract& contract) {
    const bool is_sqlite = contract.dialect == "sqlite";
    std::vector<ContractColumn> columns = contract.columns;
    std::vector<ContractColumn> key;
    for (ContractColumn& column : columns) {
        if (std::ranges::find(contract.key, column.name) != contract.key.end()) {
            // SQLite lets a primary key be null, and a contract does not.
            column.not_null = true;
            key.push_back(column);
        }
    }
    const std::string row = data_schema(columns, is_sqlite);
    std::vector<PublishedEvent> events;
    for (const std::string_view action : {"created", "updated", "deleted"}) {
        events.push_back({fmt::format("{}.{}", contract.entity, action), contract.topic(),
                          contract.schema(),
                          action == "deleted" ? data_schema(key, is_sqlite) : row, contract.key});
    }
    return events;
}

std::string to_json_schema(std::string_view service, std::span<const PublishedEvent> events) {
    std::vector<const PublishedEvent*> sorted;
    for (const PublishedEvent& event : events) {
        sorted.push_back(&event);
    }
    std::ranges::sort(sorted, {}, [](const PublishedEvent* event) { return event->type; });
    Json definitions = Json::object();
    Json choices = Json::array();
    for (const PublishedEvent* event : sorted) {
        Json definition = {{"x-topic", event->topic}};
        if (!event->schema.empty()) {
            definition["x-dataschema"] = event->schema;
        }
        if (!event->key.empty()) {
            definition["x-key"] = event->key;
        }
        definition.update(Json::parse(event->data_schema));
        definitions[event->type] = definition;
        choices.push_back({{"properties",
                            {{"type", {{"const", event->type}}},
                             {"data", {{"$ref", "#/$defs/" + event->type}}}}}});
    }
    Json document = {{"$schema", kDraft},
                     {"$id", fmt::format("urn:instep:contract:{}", service)},
                     {"title", fmt::format("Events of service {}", service)},
                     {"type", "object"},
                     {"required", {"type", "data"}}};
    // An empty list is no schema: whoever publishes nothing has no event that fits.
    document[choices.empty() ? "not" : "anyOf"] = choices.empty() ? Json::object() : choices;
    document["$defs"] = definitions;
    return document.dump(2) + '\n';
}

}  // namespace instep
