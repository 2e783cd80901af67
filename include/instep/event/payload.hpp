// Payloads as plain structs: one line names the fields, and JSON goes both ways.
//
//     struct OrderPlaced {
//         static constexpr std::string_view kType = "order.placed";
//         std::string order_id;
//         std::int64_t total_cents = 0;
//         std::optional<std::string> note;
//     };
//     INSTEP_FIELDS(OrderPlaced, order_id, total_cents, note)
//
// A field is text, a bool, an integer, a double, a struct with fields, or a std::optional or
// std::vector of one of these. Reading ignores fields that the struct does not have.
#pragma once

#include "instep/base/error.hpp"
#include "instep/event/json_value.hpp"
#include "instep/event/json_writer.hpp"

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace instep {

/// A struct that INSTEP_FIELDS was written for, in its own namespace.
template <class T>
concept Fields = requires(T& value) { instep_visit_fields(value, [](std::string_view, auto&) {}); };

/// A struct that can be the payload of an event: it also has the event's type as `kType`.
template <class T>
concept Payload = Fields<T> && requires {
    { T::kType } -> std::convertible_to<std::string_view>;
};

/// The `dataschema` that a payload's struct states as `kSchema`; empty if it states none.
template <Payload T>
constexpr std::string_view schema_of() {
    if constexpr (requires { T::kSchema; }) {
        return T::kSchema;
    } else {
        return {};
    }
}

/// How one field reads and writes. Of this header alone.
namespace payload {
template <class T>
constexpr bool kIsOptional = false;
template <class T>
constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
constexpr bool kIsVector = false;
template <class T>
constexpr bool kIsVector<std::vector<T>> = true;

template <Fields T>
Result<void> read_fields(const JsonValue& json, T& value);

template <class T>
Result<void> read(const JsonValue& json, T& value) {
    if constexpr (Fields<T>) {
        return read_fields(json, value);
    } else if constexpr (kIsOptional<T>) {
        value.reset();
        return json.is_null() ? Result<void>{} : read(json, value.emplace());
    } else if constexpr (kIsVector<T>) {
        INSTEP_TRY_ASSIGN(const auto items, json.items());
        value.clear();
        for (const JsonValue& item : items) {
            INSTEP_TRY(read(item, value.emplace_back()));
        }
        return {};
    } else if constexpr (std::same_as<T, std::string>) {
        INSTEP_TRY_ASSIGN(value, json.text());
        return {};
    } else if constexpr (std::same_as<T, bool>) {
        INSTEP_TRY_ASSIGN(value, json.boolean());
        return {};
    } else if constexpr (std::same_as<T, double>) {
        INSTEP_TRY_ASSIGN(value, json.number());
        return {};
    } else {
        static_assert(std::integral<T>, "a field of this type cannot be read from JSON");
        INSTEP_TRY_ASSIGN(const std::int64_t number, json.integer());
        if (!std::in_range<T>(number)) {
            return fail(ErrorCode::kInvalidArgument, "the number is too large for the field");
        }
        value = static_cast<T>(number);
        return {};
    }
}

template <Fields T>
Result<void> read_fields(const JsonValue& json, T& value) {
    Result<void> outcome;
    instep_visit_fields(value, [&]<class Field>(std::string_view name, Field& field) {
        if (!outcome) {
            return;
        }
        const auto found = json.field(name);
        if (!found) {
            outcome = std::unexpected(found.error());
        } else if (*found) {
            if (auto done = read(**found, field); !done) {
                outcome = fail_in(name, std::move(done).error());
            }
        } else if constexpr (kIsOptional<Field>) {
            field.reset();
        } else {
            outcome = fail_in(name, Error{ErrorCode::kInvalidArgument, "is missing"});
        }
    });
    return outcome;
}

template <class T>
void write(std::string& out, const T& value) {
    if constexpr (Fields<T>) {
        char separator = '{';
        instep_visit_fields(value, [&](std::string_view name, const auto& field) {
            out += std::exchange(separator, ',');
            append_json_string(out, name);
            out += ':';
            write(out, field);
        });
        out += separator == '{' ? "{}" : "}";
    } else if constexpr (kIsOptional<T>) {
        if (value) {
            write(out, *value);
        } else {
            out += "null";
        }
    } else if constexpr (kIsVector<T>) {
        char separator = '[';
        for (const auto& item : value) {
            out += std::exchange(separator, ',');
            write(out, item);
        }
        out += separator == '[' ? "[]" : "]";
    } else if constexpr (std::same_as<T, std::string>) {
        append_json_string(out, value);
    } else if constexpr (std::same_as<T, bool>) {
        out += value ? "true" : "false";
    } else if constexpr (std::same_as<T, double>) {
        append_json_number(out, value);
    } else {
        static_assert(std::integral<T> && !std::same_as<T, std::uint64_t>,
                      "a field of this type cannot be written as JSON");
        append_json_number(out, std::int64_t{value});
    }
}

}  // namespace payload
/// The struct as a JSON object, fields in their order.
template <Fields T>
std::string to_payload(const T& value) {
    std::string out;
    payload::write(out, value);
    return out;
}

/// The struct from a JSON object. Errors: kInvalidArgument with the path of the field that is
/// missing or of another type; kCorrupt for what is no JSON.
template <Fields T>
Result<T> from_payload(std::string_view json) {
    INSTEP_TRY_ASSIGN(const JsonDocument document, JsonDocument::parse(json));
    T value{};
    INSTEP_TRY(payload::read_fields(document.root(), value));
    return value;
}

}  // namespace instep

/// Names the fields of a struct, up to 64. In the struct's own namespace, behind it.
#define INSTEP_FIELDS(Struct, ...)                                       \
    template <class Self, class Visit>                                   \
        requires std::same_as<std::remove_const_t<Self>, Struct>         \
    constexpr void instep_visit_fields([[maybe_unused]] Self& self,      \
                                       [[maybe_unused]] Visit&& visit) { \
        __VA_OPT__(INSTEP_EXPAND(INSTEP_EACH(__VA_ARGS__)))              \
    }

#define INSTEP_EACH(field, ...) \
    visit(#field, self.field);  \
    __VA_OPT__(INSTEP_EACH_AGAIN INSTEP_PARENTHESES(__VA_ARGS__))
#define INSTEP_EACH_AGAIN() INSTEP_EACH
#define INSTEP_PARENTHESES ()
#define INSTEP_EXPAND(...) \
    INSTEP_EXPAND_16(INSTEP_EXPAND_16(INSTEP_EXPAND_16(INSTEP_EXPAND_16(__VA_ARGS__))))
#define INSTEP_EXPAND_16(...) \
    INSTEP_EXPAND_4(INSTEP_EXPAND_4(INSTEP_EXPAND_4(INSTEP_EXPAND_4(__VA_ARGS__))))
#define INSTEP_EXPAND_4(...) \
    INSTEP_EXPAND_1(INSTEP_EXPAND_1(INSTEP_EXPAND_1(INSTEP_EXPAND_1(__VA_ARGS__))))
#define INSTEP_EXPAND_1(...) __VA_ARGS__
