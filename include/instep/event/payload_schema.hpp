// The JSON Schema of a payload's struct, for contracts and documentation.
#pragma once

#include "instep/event/json_writer.hpp"
#include "instep/event/payload.hpp"

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace instep {

/// How one field is described. Of this header alone.
namespace payload {
/// Whether null stands for a value that is not there.
enum class Nullable : std::uint8_t { kNo, kYes };

inline void append_type(std::string& out, std::string_view type, Nullable nullable) {
    out += R"("type":)";
    if (nullable == Nullable::kYes) {
        out += '[';
        append_json_string(out, type);
        out += R"(,"null"])";
    } else {
        append_json_string(out, type);
    }
}

template <class T>
void describe(std::string& out, Nullable nullable = Nullable::kNo);

template <Fields T>
void describe_fields(std::string& out) {
    T value{};
    std::string required;
    char separator = '{';
    out += R"(,"properties":)";
    instep_visit_fields(value, [&]<class Field>(std::string_view name, Field& /*field*/) {
        out += std::exchange(separator, ',');
        append_json_string(out, name);
        out += ':';
        describe<Field>(out);
        if constexpr (!kIsOptional<Field>) {
            required += required.empty() ? "" : ",";
            append_json_string(required, name);
        }
    });
    out += separator == '{' ? "{}" : "}";
    out += R"(,"required":[)" + required + ']';
}

template <class T>
void describe(std::string& out, Nullable nullable) {
    if constexpr (kIsOptional<T>) {
        describe<typename T::value_type>(out, Nullable::kYes);
        return;
    } else {
        out += '{';
        if constexpr (Fields<T>) {
            append_type(out, "object", nullable);
            describe_fields<T>(out);
        } else if constexpr (kIsVector<T>) {
            append_type(out, "array", nullable);
            out += R"(,"items":)";
            describe<typename T::value_type>(out);
        } else if constexpr (std::same_as<T, std::string>) {
            append_type(out, "string", nullable);
        } else if constexpr (std::same_as<T, bool>) {
            append_type(out, "boolean", nullable);
        } else if constexpr (std::same_as<T, double>) {
            append_type(out, "number", nullable);
        } else {
            static_assert(std::integral<T>, "a field of this type has no JSON");
            append_type(out, "integer", nullable);
        }
        out += '}';
    }
}
}  // namespace payload

/// The JSON Schema (draft 2020-12) of what to_payload() writes of the struct: a field that is a
/// std::optional may be null or left out, every other one is required.
template <Fields T>
std::string payload_schema() {
    std::string out;
    payload::describe<T>(out);
    return out;
}

}  // namespace instep
