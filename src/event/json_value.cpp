#include "instep/event/json_value.hpp"

#include "instep/event/event.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <cstring>

namespace instep {

namespace {

namespace dom = simdjson::dom;

static_assert(std::is_trivially_copyable_v<dom::element> && sizeof(dom::element) == 16 &&
              alignof(dom::element) <= 8);

dom::element element_of(const std::array<std::byte, 16>& handle) {
    dom::element element;
    std::memcpy(&element, handle.data(), sizeof element);
    return element;
}

std::string_view type_name(dom::element_type type) {
    switch (type) {
        case dom::element_type::ARRAY:
            return "an array";
        case dom::element_type::OBJECT:
            return "an object";
        case dom::element_type::STRING:
            return "text";
        case dom::element_type::BOOL:
            return "a boolean";
        case dom::element_type::NULL_VALUE:
            return "null";
        case dom::element_type::INT64:
        case dom::element_type::UINT64:
        case dom::element_type::DOUBLE:
            return "a number";
    }
    return "unknown";
}

std::unexpected<Error> not_a(std::string_view expected, const dom::element& element) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("is {}, not {}", type_name(element.type()), expected));
}

template <class T>
Result<T> read(const std::array<std::byte, 16>& handle, std::string_view expected) {
    const dom::element element = element_of(handle);
    T value{};
    if (element.get(value) != simdjson::SUCCESS) {
        return not_a(expected, element);
    }
    return value;
}

}  // namespace

JsonKind JsonValue::kind() const {
    switch (element_of(handle_).type()) {
        case dom::element_type::ARRAY:
            return JsonKind::kList;
        case dom::element_type::OBJECT:
            return JsonKind::kObject;
        case dom::element_type::STRING:
            return JsonKind::kText;
        case dom::element_type::BOOL:
            return JsonKind::kBoolean;
        case dom::element_type::INT64:
        case dom::element_type::UINT64:
            return JsonKind::kInteger;
        case dom::element_type::DOUBLE:
            return JsonKind::kNumber;
        case dom::element_type::NULL_VALUE:
            break;
    }
    return JsonKind::kNothing;
}

bool JsonValue::is_null() const { return element_of(handle_).is_null(); }
Result<bool> JsonValue::boolean() const { return read<bool>(handle_, "a boolean"); }
Result<std::int64_t> JsonValue::integer() const {
    return read<std::int64_t>(handle_, "an integer of 64 bits");
}
Result<double> JsonValue::number() const { return read<double>(handle_, "a number"); }
Result<std::string_view> JsonValue::text() const { return read<std::string_view>(handle_, "text"); }

Result<std::vector<JsonValue>> JsonValue::items() const {
    INSTEP_TRY_ASSIGN(const dom::array array, read<dom::array>(handle_, "an array"));
    std::vector<JsonValue> items;
    for (const dom::element element : array) {
        std::memcpy(items.emplace_back().handle_.data(), &element, sizeof element);
    }
    return items;
}

Result<std::optional<JsonValue>> JsonValue::field(std::string_view name) const {
    INSTEP_TRY_ASSIGN(const dom::object object, read<dom::object>(handle_, "an object"));
    dom::element element;
    if (object.at_key(name).get(element) != simdjson::SUCCESS) {
        return std::nullopt;
    }
    JsonValue value;
    std::memcpy(value.handle_.data(), &element, sizeof element);
    return value;
}

Result<std::vector<std::pair<std::string_view, JsonValue>>> JsonValue::fields() const {
    INSTEP_TRY_ASSIGN(const dom::object object, read<dom::object>(handle_, "an object"));
    std::vector<std::pair<std::string_view, JsonValue>> fields;
    for (const dom::key_value_pair& next : object) {
        JsonValue& value = fields.emplace_back(next.key, JsonValue{}).second;
        std::memcpy(value.handle_.data(), &next.value, sizeof next.value);
    }
    return fields;
}

struct JsonDocument::Parsed {
    dom::parser parser;
    dom::element root;
};

JsonDocument::JsonDocument(std::unique_ptr<Parsed> parsed) : parsed_(std::move(parsed)) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

Result<JsonDocument> JsonDocument::parse(std::string_view json) {
    if (json.size() > kEventDataBytesMax) {
        return fail(ErrorCode::kLimitExceeded,
                    fmt::format("JSON of {} bytes; at most {}", json.size(), kEventDataBytesMax));
    }
    auto parsed = std::make_unique<Parsed>();
    const auto error = parsed->parser.parse(json.data(), json.size()).get(parsed->root);
    if (error != simdjson::SUCCESS) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("not JSON: {}", simdjson::error_message(error)));
    }
    return JsonDocument(std::move(parsed));
}

JsonValue JsonDocument::root() const {
    JsonValue value;
    std::memcpy(value.handle_.data(), &parsed_->root, sizeof parsed_->root);
    return value;
}

}  // namespace instep
