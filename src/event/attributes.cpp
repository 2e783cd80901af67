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

/// More than a time, a sequence, an incarnation and a stream's version take together.
constexpr std::size_t kWrittenBytesMax = 160;

/// How one attribute with a field of its own is written and read. An empty text stands for
/// an attribute that is left out; one that the event does not hold is appended to `room`, which
/// does not move.
struct KnownAttribute {
    std::string_view name;
    std::string_view (*write)(const Event& event, std::string& room);
    Result<void> (*read)(Event& event, std::string_view text);
};

template <std::string Event::* kMember>
constexpr KnownAttribute text_attribute(std::string_view name) {
    return {
        name,
        [](const Event& event, std::string& /*room*/) { return std::string_view(event.*kMember); },
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

std::string_view append(std::string& room, std::string_view text) {
    const std::size_t begin = room.size();
    return std::string_view(room.append(text)).substr(begin);
}

std::string_view write_spec_version(const Event& /*event*/, std::string& /*room*/) {
    return kSpecVersion;
}

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

std::string_view write_subject(const Event& event, std::string& /*room*/) {
    return has_own_subject(event) ? std::string_view() : event.key;
}

Result<void> read_subject(Event& event, std::string_view text) {
    if (event.key.empty()) {
        event.key = text;
    } else if (event.key != text) {
        event.extensions.emplace_back(kSubject, text);
    }
    return {};
}

std::string_view write_partition_key(const Event& event, std::string& /*room*/) {
    return event.key;
}

Result<void> read_partition_key(Event& event, std::string_view text) {
    if (!event.key.empty() && event.key != text) {
        event.extensions.emplace_back(kSubject, std::move(event.key));
    }
    event.key = text;
    return {};
}

std::string_view write_time(const Event& event, std::string& room) {
    return event.time == Timestamp{} ? std::string_view() : append(room, format_time(event.time));
}

Result<void> read_time(Event& event, std::string_view text) {
    INSTEP_TRY_ASSIGN(event.time, parse_time(text));
    return {};
}

std::string_view write_sequence(const Event& event, std::string& room) {
    return event.version == Version{} ? std::string_view()
                                      : append(room, to_sequence(event.version));
}

Result<void> read_sequence(Event& event, std::string_view text) {
    INSTEP_TRY_ASSIGN(event.version, parse_sequence(text));
    return {};
}

std::string_view write_incarnation(const Event& event, std::string& room) {
    return event.incarnation == 0 ? std::string_view()
                                  : append(room, fmt::format("{:016x}", event.incarnation));
}

Result<void> read_incarnation(Event& event, std::string_view text) {
    if (text.size() != kIncarnationDigits) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("\"{}\" has not {} hexadecimal digits", text, kIncarnationDigits));
    }
    INSTEP_TRY_ASSIGN(event.incarnation, parse_integer(text, 16));
    return {};
}

std::string_view write_operation(const Event& event, std::string& /*room*/) {
    return event.operation == Operation::kNone ? std::string_view() : to_string(event.operation);
}

Result<void> read_operation(Event& event, std::string_view text) {
    INSTEP_TRY_ASSIGN(event.operation, parse_operation(text));
    return {};
}

std::string_view write_stream_version(const Event& event, std::string& room) {
    return event.stream_version == 0 ? std::string_view()
                                     : append(room, fmt::to_string(event.stream_version));
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
    {"partitionkey", write_partition_key, read_partition_key},
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

/// Attributes mostly come in the order of kKnown, so the search begins behind the last one found.
std::size_t find_known(std::string_view name, std::size_t begin) {
    for (std::size_t i = begin; i < kKnown.size(); ++i) {
        if (kKnown[i].name == name) {
            return i;
        }
    }
    const auto known = std::ranges::find(kKnown, name, &KnownAttribute::name);
    return static_cast<std::size_t>(known - kKnown.begin());
}

template <class Text>
Result<Event> read_attributes(std::span<const std::pair<Text, Text>> attributes, std::string data) {
    Event event;
    event.data = std::move(data);
    std::array<bool, kKnown.size()> seen{};
    std::size_t next = 0;
    for (const auto& [name, text] : attributes) {
        const std::size_t found = find_known(name, next);
        if (found == kKnown.size()) {
            INSTEP_TRY(detail::check_extension(name, text, event.extensions));
            event.extensions.emplace_back(name, text);
            INSTEP_TRY(detail::check_totals(event));
            continue;
        }
        next = found + 1;
        INSTEP_TRY(detail::check_attribute(name, text));
        if (text.empty()) {
            continue;
        }
        if (std::exchange(seen[found], true)) {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("attribute \"{}\" comes twice", name));
        }
        if (auto read = kKnown[found].read(event, text); !read) {
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

}  // namespace

namespace detail {

bool is_reserved_name(std::string_view name) {
    return name != kSubject &&
           std::ranges::find(kKnown, name, &KnownAttribute::name) != kKnown.end();
}

}  // namespace detail

std::span<const AttributeView> AttributeViews::of(const Event& event) {
    views_.clear();
    written_.clear();
    written_.reserve(kWrittenBytesMax);
    for (const KnownAttribute& known : kKnown) {
        if (const std::string_view text = known.write(event, written_); !text.empty()) {
            views_.emplace_back(known.name, text);
        }
    }
    views_.insert(views_.end(), event.extensions.begin(), event.extensions.end());
    return views_;
}

std::vector<Attribute> to_attributes(const Event& event) {
    AttributeViews views;
    const auto attributes = views.of(event);
    return {attributes.begin(), attributes.end()};
}

Result<Event> from_attributes(std::span<const AttributeView> attributes, std::string data) {
    return read_attributes(attributes, std::move(data));
}

Result<Event> from_attributes(std::span<const Attribute> attributes, std::string data) {
    return read_attributes(attributes, std::move(data));
}

}  // namespace instep
