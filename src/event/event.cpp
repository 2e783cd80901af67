#include "instep/event/event.hpp"

#include "attribute_checks.hpp"
#include "instep/base/bytes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>

namespace instep {

namespace {

using NamedText = std::pair<std::string_view, const std::string&>;

constexpr std::array kOperations = {Operation::kNone, Operation::kUpsert, Operation::kDelete,
                                    Operation::kChunk, Operation::kDigest};

/// True for what nearly all attributes are, and what needs no closer look.
bool is_printable_ascii(std::string_view text) {
    bool is_printable = true;
    for (const char c : text) {
        is_printable &= c >= 0x20 && c < 0x7F;
    }
    return is_printable;
}

bool has_control_character(std::string_view utf8) {
    for (std::size_t i = 0; i < utf8.size(); ++i) {
        const auto byte = static_cast<unsigned char>(utf8[i]);
        // C2 80 to C2 9F are the control characters U+0080 to U+009F.
        if (byte < 0x20 || byte == 0x7F ||
            (byte == 0xC2 && static_cast<unsigned char>(utf8[i + 1]) < 0xA0)) {
            return true;
        }
    }
    return false;
}

}  // namespace

bool fits_attribute(std::string_view text) {
    return text.size() <= kEventAttributeBytesMax &&
           (is_printable_ascii(text) || (is_utf8(text) && !has_control_character(text)));
}

namespace detail {

Result<void> check_attribute(std::string_view name, std::string_view value) {
    if (value.size() > kEventAttributeBytesMax) {
        return fail(ErrorCode::kLimitExceeded,
                    fmt::format("attribute \"{}\" has {} bytes; the limit is {}", name,
                                value.size(), kEventAttributeBytesMax));
    }
    if (!fits_attribute(value)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("attribute \"{}\" is not UTF-8 without control characters", name));
    }
    return {};
}

Result<void> check_extension(std::string_view name, std::string_view value, Extensions earlier) {
    if (name.empty() || name.size() > kExtensionNameBytesMax ||
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") != std::string_view::npos ||
        name == "data" || is_reserved_name(name)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("an extension cannot be named {:?}: it takes 1 to {} of a-z and "
                                "0-9, and no other attribute's name",
                                name.substr(0, kExtensionNameBytesMax), kExtensionNameBytesMax));
    }
    if (std::ranges::any_of(earlier, [&](const auto& other) { return other.first == name; })) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("attribute \"{}\" comes twice", name));
    }
    return check_attribute(name, value);
}

Result<void> check_totals(const Event& event) {
    if (event.extensions.size() > kEventExtensionsMax) {
        return fail(ErrorCode::kLimitExceeded,
                    fmt::format("the event has more than {} extensions", kEventExtensionsMax));
    }
    if (event.data.size() > kEventDataBytesMax) {
        return fail(ErrorCode::kLimitExceeded, fmt::format("the data has {} bytes; the limit is {}",
                                                           event.data.size(), kEventDataBytesMax));
    }
    return {};
}

Result<void> check_required(const Event& event) {
    const std::initializer_list<NamedText> required = {
        {"id", event.id}, {"source", event.source}, {"type", event.type}, {"subject", event.key}};
    for (const auto& [name, value] : required) {
        if (value.empty()) {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("attribute \"{}\" is missing", name));
        }
    }
    return {};
}

}  // namespace detail

std::string_view to_string(Operation operation) noexcept {
    switch (operation) {
        case Operation::kNone:
            return "none";
        case Operation::kUpsert:
            return "upsert";
        case Operation::kDelete:
            return "delete";
        case Operation::kChunk:
            return "chunk";
        case Operation::kDigest:
            return "digest";
    }
    return "none";
}

Result<Operation> parse_operation(std::string_view text) {
    for (const Operation operation : kOperations) {
        if (text == to_string(operation)) {
            return operation;
        }
    }
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("\"{}\" is no operation; upsert, delete, chunk, digest and none are", text));
}

Result<void> validate(const Event& event) {
    const std::initializer_list<NamedText> texts = {{"id", event.id},
                                                    {"source", event.source},
                                                    {"type", event.type},
                                                    {"partitionkey", event.key},
                                                    {"stream", event.stream},
                                                    {"datacontenttype", event.content_type},
                                                    {"dataschema", event.schema},
                                                    {"correlationid", event.correlation_id},
                                                    {"causationid", event.causation_id},
                                                    {"traceparent", event.trace_parent}};
    for (const auto& [name, value] : texts) {
        INSTEP_TRY(detail::check_attribute(name, value));
    }
    INSTEP_TRY(detail::check_totals(event));
    const detail::Extensions extensions(event.extensions);
    for (std::size_t i = 0; i < extensions.size(); ++i) {
        const auto& [name, value] = extensions[i];
        INSTEP_TRY(detail::check_extension(name, value, extensions.first(i)));
    }
    return detail::check_required(event);
}

}  // namespace instep
