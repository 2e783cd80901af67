#include "attribute_checks.hpp"
#include "instep/event/cloudevents.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace instep {

namespace {

constexpr std::string_view kSpecVersion = "1.0";
constexpr std::string_view kSubject = "subject";
constexpr std::size_t kIncarnationDigits = 16;

/// How one attribute with a field of its own is written and read. An empty text stands for
/// an attribute that is left out.
struct KnownAttribute {
    std::string_view name;
    std::string (*write)(const Event& event);
    Result<void> (*read)(Event& event, std::string_view text);
};

template <std::string Event::* kMember>
constexpr KnownAttribute text_attribute(std::string_view name) {
    return {name, [](const Event& event) { return event.*kMember; },
            [](Event& event, std::string_view text) -> Result<void> {
                event.*kMember = text;
                return {};
            }};
}

Result<std::uint64_t> parse_integer(std::string_view text, int base) {
    std::uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, base);
    if (error != std::errc{} || stop != end) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("\"{}\" is not an integer of base {}", text, base));
    }
    return value;
}

std::string write_spec_version(const Event& /*event*/) { return std::string(kSpecVersion); }

Result<void> read_spec_version(Event& /*event*/, std::string_view text) {
    if (text != kSpecVersion) {
        return fail(ErrorCode::kSchemaMismatch,
                    fmt::format("CloudEvents {} is not supported, only {}", text, kSpecVersion));
    }
    return {};
}

bool has_own_subject(const Event& event) {
    return std::ranges::find(event.extensions, kSubject, &Attribute::first) !=
           event.extensions.end();
}

std::string write_subject(const Event& event) {
    return has_own_subject(event) ? std::string() : event.key;
}

Result<void> read_subject(Event& event, std::string_view text) {
    if (event.key.empty()) {
        event.key = text;
    } else if (event.key != text) {
        event.extensions.emplace_back(kSubject, text);
    }
    return {};
}

Result<void> read_partition_key(Event& event, std::string_view text) {
    if (!event.key.empty() && event.key != text) {
        event.extensions.emplace_back(kSubject, std::move(event.key));
    }
    event.key = text;
    return {};
}

std::string write_time(const Event& event) {
    return event.time == Timestamp{} ? std::string() : format_time(event.time);
}

Result<void> read_time(Event& event, std::string_view text) {
    INSTEP_TRY_ASSIGN(event.time, parse_time(text));
    return {};
}

std::string write_sequence(const Event& event) {
    return event.version == Version{} ? std::string() : to_sequence(event.version);
}

Result<void> read_sequence(Event& event, std::string_view text) {
    INSTEP_TRY_ASSIGN(event.version, parse_sequence(text));
    return {};
}

std::string write_incarnation(const Event& event) {
    return event.incarnation == 0 ? std::string() : fmt::format("{:016x}", event.incarnation);
}

Result<void> read_incarnation(Event& event, std::string_view text) {
    if (text.size() != kIncarnationDigits) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("\"{}\" has not {} hexadecimal digits", text, kIncarnationDigits));
    }
    INSTEP_TRY_ASSIGN(event.incarnation, parse_integer(text, 16));
    return {};
}

std::string write_operation(const Event& event) {
    return event.operation == Operation::kNone ? std::string()
                                               : std::string(to_string(event.operation));
}

Result<void> read_operation(Event& event, std::string_view text) {
    INSTEP_TRY_ASSIGN(event.operation, parse_operation(text));
    return {};
}

std::string write_stream_version(const Event& event) {
    return event.stream_version == 0 ? std::string() : fmt::to_string(event.stream_version);
}

Result<void> read_stream_version(Event& event, std::string_view text) {
    INSTEP_TRY_ASSIGN(event.stream_version, parse_integer(text, 10));
    return {};
}

constexpr std::array<KnownAttribute, detail::kKnownAttributes> kKnown = {{
    {"specversion", write_spec_version, read_spec_version},
    text_attribute<&Event::id>("id"),
    text_attribute<&Event::source>("source"),
    text_attribute<&Event::type>("type"),
    {kSubject, write_subject, read_subject},
    {"partitionkey", [](const Event& event) { return event.key; }, read_partition_key},
    {"time", write_time, read_time},
    {"sequence", write_sequence, read_sequence},
    {"incarnation", write_incarnation, read_incarnation},
    {"operation", write_operation, read_operation},
    text_attribute<&Event::stream>("stream"),
    {"streamversion", write_stream_version, read_stream_version},
    text_attribute<&Event::content_type>("datacontenttype"),
    text_attribute<&Event::schema>("dataschema"),
    text_attribute<&Event::correlation_id>("correlationid"),
    text_attribute<&Event::causation_id>("causationid"),
    text_attribute<&Event::trace_parent>("traceparent"),
}};

}  // namespace

namespace detail {

bool is_reserved_name(std::string_view name) {
    return name != kSubject &&
           std::ranges::find(kKnown, name, &KnownAttribute::name) != kKnown.end();
}

}  // namespace detail

std::vector<Attribute> to_attributes(const Event& event) {
    std::vector<Attribute> attributes;
    attributes.reserve(kKnown.size() + event.extensions.size());
    for (const KnownAttribute& known : kKnown) {
        if (std::string text = known.write(event); !text.empty()) {
            attributes.emplace_back(known.name, std::move(text));
        }
    }
    attributes.insert(attributes.end(), event.extensions.begin(), event.extensions.end());
    return attributes;
}

Result<Event> from_attributes(std::span<const Attribute> attributes, std::string data) {
    Event event;
    event.data = std::move(data);
    std::array<bool, kKnown.size()> seen{};
    for (const auto& [name, text] : attributes) {
        const auto known = std::ranges::find(kKnown, name, &KnownAttribute::name);
        if (known == kKnown.end()) {
            INSTEP_TRY(detail::check_extension(name, text, event.extensions));
            event.extensions.emplace_back(name, text);
            INSTEP_TRY(detail::check_totals(event));
            continue;
        }
        INSTEP_TRY(detail::check_attribute(name, text));
        if (text.empty()) {
            continue;
        }
        if (std::exchange(seen[static_cast<std::size_t>(known - kKnown.begin())], true)) {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("attribute \"{}\" comes twice", name));
        }
        if (auto read = known->read(event, text); !read) {
            return fail_in(fmt::format("attribute \"{}\"", name), std::move(read).error());
        }
    }
    if (!seen[0]) {
        return fail(ErrorCode::kInvalidArgument, "attribute \"specversion\" is missing");
    }
    INSTEP_TRY(detail::check_totals(event));
    INSTEP_TRY(detail::check_required(event));
    return event;
}

}  // namespace instep
