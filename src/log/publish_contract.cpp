#include "instep/log/publish_contract.hpp"

#include "instep/event/json_value.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace instep {

namespace {

/// A set of JsonKind.
using Kinds = std::uint8_t;

constexpr Kinds bit(JsonKind kind) { return static_cast<Kinds>(1U << std::to_underlying(kind)); }

constexpr Kinds kAnyKind = 0x7f;

/// As JSON Schema calls them; a number may be an integer.
constexpr std::array<std::pair<std::string_view, Kinds>, 7> kTypes = {{
    {"null", bit(JsonKind::kNothing)},
    {"boolean", bit(JsonKind::kBoolean)},
    {"integer", bit(JsonKind::kInteger)},
    {"number", bit(JsonKind::kNumber) | bit(JsonKind::kInteger)},
    {"string", bit(JsonKind::kText)},
    {"array", bit(JsonKind::kList)},
    {"object", bit(JsonKind::kObject)},
}};

/// Keywords that tell people something, and hold no event to anything.
constexpr std::array<std::string_view, 9> kDescriptions = {
    "title",    "description", "default",  "examples", "deprecated",
    "readOnly", "writeOnly",   "$comment", "format",
};

struct Field;

struct Schema {
    Kinds kinds = kAnyKind;
    std::vector<Field> fields;

    /// Of a list: one, or none.
    std::vector<Schema> items;
};

struct Field {
    std::string name;
    bool is_required = false;
    Schema schema;
};

/// What one type of events must be like; empty where it may be any.
struct Promise {
    std::string topic;
    std::string schema;
    Schema data;
};

Result<Kinds> kinds_of(const JsonValue& type) {
    std::vector<JsonValue> names = {type};
    if (type.kind() == JsonKind::kList) {
        INSTEP_TRY_ASSIGN(names, type.items());
    }
    Kinds kinds = 0;
    for (const JsonValue& name : names) {
        INSTEP_TRY_ASSIGN(const std::string_view text, name.text());
        const auto* const found =
            std::ranges::find(kTypes, text, &decltype(kTypes)::value_type::first);
        if (found == kTypes.end()) {
            return fail(ErrorCode::kCorrupt, fmt::format("there is no type \"{}\"", text));
        }
        kinds |= found->second;
    }
    return kinds;
}

Field& field_of(Schema& schema, std::string_view name) {
    const auto found = std::ranges::find(schema.fields, name, &Field::name);
    return found != schema.fields.end() ? *found : schema.fields.emplace_back(std::string(name));
}

Result<Schema> compile_schema(const JsonValue& json, int depth) {
    if (depth > kPublishedDepthMax) {
        return fail(ErrorCode::kLimitExceeded,
                    fmt::format("is nested deeper than {} levels", kPublishedDepthMax));
    }
    INSTEP_TRY_ASSIGN(const auto keywords, json.fields());
    Schema schema;
    for (const auto& [keyword, value] : keywords) {
        if (keyword == "type") {
            INSTEP_TRY_ASSIGN(schema.kinds, kinds_of(value));
        } else if (keyword == "properties") {
            INSTEP_TRY_ASSIGN(const auto properties, value.fields());
            for (const auto& [name, property] : properties) {
                auto compiled = compile_schema(property, depth + 1);
                if (!compiled) {
                    return fail_in(name, std::move(compiled).error());
                }
                field_of(schema, name).schema = *std::move(compiled);
            }
        } else if (keyword == "required") {
            INSTEP_TRY_ASSIGN(const auto names, value.items());
            for (const JsonValue& name : names) {
                INSTEP_TRY_ASSIGN(const std::string_view text, name.text());
                field_of(schema, text).is_required = true;
            }
        } else if (keyword == "items") {
            INSTEP_TRY_ASSIGN(Schema items, compile_schema(value, depth + 1));
            schema.items.push_back(std::move(items));
        } else if (!keyword.starts_with("x-") &&
                   std::ranges::find(kDescriptions, keyword) == kDescriptions.end()) {
            return fail(ErrorCode::kUnsupported,
                        fmt::format("events cannot be held to \"{}\"; take it out, or leave it to "
                                    "the program",
                                    keyword));
        }
    }
    return schema;
}

Result<std::string> text_of(const JsonValue& definition, std::string_view name) {
    INSTEP_TRY_ASSIGN(const auto found, definition.field(name));
    if (!found) {
        return std::string();
    }
    INSTEP_TRY_ASSIGN(const std::string_view text, found->text());
    return std::string(text);
}

Result<Promise> compile_promise(const JsonValue& definition) {
    Promise promise;
    INSTEP_TRY_ASSIGN(promise.data, compile_schema(definition, 0));
    INSTEP_TRY_ASSIGN(promise.topic, text_of(definition, "x-topic"));
    INSTEP_TRY_ASSIGN(promise.schema, text_of(definition, "x-dataschema"));
    return promise;
}

std::string words_of(Kinds kinds) {
    std::string words;
    for (const auto& [name, kind] : kTypes) {
        // "number" says it for both.
        if ((kinds & kind) != kind ||
            (name == "integer" && (kinds & bit(JsonKind::kNumber)) != 0)) {
            continue;
        }
        words += words.empty() ? "" : " or ";
        words += name;
    }
    return words;
}

std::string_view word_of(JsonKind kind) {
    const auto* const found =
        std::ranges::find(kTypes, bit(kind), &decltype(kTypes)::value_type::second);
    return found == kTypes.end() ? "number" : found->first;
}

/// Where a value is not as its schema says, and how.
struct Misfit {
    std::string path;
    std::string problem;

    Misfit within(const std::string& place) && { return {place + path, std::move(problem)}; }
};

std::optional<Misfit> find_misfit(const Schema& schema, const JsonValue& value) {
    const JsonKind kind = value.kind();
    if ((schema.kinds & bit(kind)) == 0) {
        return Misfit{"", fmt::format("is {}, not {}", word_of(kind), words_of(schema.kinds))};
    }
    if (kind == JsonKind::kObject) {
        for (const Field& field : schema.fields) {
            const auto found = value.field(field.name);
            if (found && *found) {
                if (auto misfit = find_misfit(field.schema, **found)) {
                    return std::move(*misfit).within("." + field.name);
                }
            } else if (field.is_required) {
                return Misfit{"." + field.name, "is missing"};
            }
        }
    }
    if (kind == JsonKind::kList && !schema.items.empty()) {
        const auto items = value.items();
        for (std::size_t i = 0; i < items->size(); ++i) {
            if (auto misfit = find_misfit(schema.items.front(), (*items)[i])) {
                return std::move(*misfit).within(fmt::format("[{}]", i));
            }
        }
    }
    return std::nullopt;
}

std::unexpected<Error> violates(const NewEvent& event, std::string_view problem) {
    return fail(ErrorCode::kRejected,
                fmt::format("event {} of key {} violates the publish contract: {}; correct the "
                            "event, or the contract after `instep contract diff` has told whom "
                            "that breaks",
                            event.type, event.key, problem));
}

}  // namespace

struct PublishContract::Promises {
    std::map<std::string, Promise, std::less<>> by_type;
};

PublishContract::PublishContract(std::shared_ptr<const Promises> promises)
    : promises_(std::move(promises)) {}

Result<PublishContract> PublishContract::compile(std::string_view document) {
    INSTEP_TRY_ASSIGN(const JsonDocument json, JsonDocument::parse(document));
    const auto definitions = json.root().field("$defs");
    const auto types =
        definitions && *definitions
            ? (*definitions)->fields()
            : fail(ErrorCode::kCorrupt, "this is not a document of `instep contract export`");
    if (!types) {
        return fail(ErrorCode::kCorrupt, types.error().message);
    }
    auto promises = std::make_shared<Promises>();
    for (const auto& [type, definition] : *types) {
        auto promise = compile_promise(definition);
        if (!promise) {
            // A value of another type than JSON Schema wants there.
            const ErrorCode code = promise.error().code == ErrorCode::kInvalidArgument
                                       ? ErrorCode::kCorrupt
                                       : promise.error().code;
            return fail_in(fmt::format("the schema of {}", type),
                           Error{code, promise.error().message});
        }
        promises->by_type.emplace(type, *std::move(promise));
    }
    return PublishContract(std::move(promises));
}

Result<void> PublishContract::check(const NewEvent& event) const {
    const auto found = promises_->by_type.find(event.type);
    if (found == promises_->by_type.end()) {
        return violates(event, "it has no event of this type");
    }
    const Promise& promise = found->second;
    if (!promise.topic.empty() && event.topic != promise.topic) {
        return violates(event,
                        fmt::format("it goes to topic {}, not {}", event.topic, promise.topic));
    }
    if (!promise.schema.empty() && event.schema != promise.schema) {
        return violates(
            event, fmt::format("its schema is \"{}\", not \"{}\"", event.schema, promise.schema));
    }
    const auto data = JsonDocument::parse(event.data);
    if (!data) {
        return violates(event, fmt::format("its data is {}", data.error().message));
    }
    if (const auto misfit = find_misfit(promise.data, data->root())) {
        return violates(event, fmt::format("data{} {}", misfit->path, misfit->problem));
    }
    return {};
}

}  // namespace instep
