#include "message.hpp"

#include "instep/base/bytes.hpp"
#include "link.hpp"
#include "sending.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <utility>

namespace instep::rabbitmq {

namespace {

constexpr std::string_view kPrefix = "cloudEvents_";

/// Of other producers: AMQP 1.0 clients, and those that write as for HTTP or Kafka.
constexpr std::array<std::string_view, 4> kPrefixes = {kPrefix, "cloudEvents:", "ce_", "ce-"};

constexpr std::string_view kContentType = "datacontenttype";
constexpr std::string_view kStructured = "application/cloudevents";
constexpr std::string_view kStructuredJson = "application/cloudevents+json";
constexpr std::uint8_t kPersistent = 2;

/// What a table entry or a property takes beside its text.
constexpr std::size_t kEntryBytes = 6;

std::string_view attribute_of(std::string_view header) {
    for (const std::string_view prefix : kPrefixes) {
        if (header.starts_with(prefix)) {
            return header.substr(prefix.size());
        }
    }
    return {};
}

/// What a header holds that is no text. Nothing for a kind that no attribute can be.
std::optional<std::string> written(const amqp_field_value_t& value) {
    switch (value.kind) {
        case AMQP_FIELD_KIND_BOOLEAN:
            return value.value.boolean != 0 ? "true" : "false";
        case AMQP_FIELD_KIND_I8:
            return std::to_string(value.value.i8);
        case AMQP_FIELD_KIND_U8:
            return std::to_string(value.value.u8);
        case AMQP_FIELD_KIND_I16:
            return std::to_string(value.value.i16);
        case AMQP_FIELD_KIND_U16:
            return std::to_string(value.value.u16);
        case AMQP_FIELD_KIND_I32:
            return std::to_string(value.value.i32);
        case AMQP_FIELD_KIND_U32:
            return std::to_string(value.value.u32);
        case AMQP_FIELD_KIND_I64:
            return std::to_string(value.value.i64);
        case AMQP_FIELD_KIND_U64:
            return std::to_string(value.value.u64);
        case AMQP_FIELD_KIND_TIMESTAMP:
            return format_time(Timestamp(std::chrono::seconds(value.value.u64)));
        default:
            return std::nullopt;
    }
}

std::string_view content_type_of(const amqp_basic_properties_t& properties) {
    return (properties._flags & AMQP_BASIC_CONTENT_TYPE_FLAG) != 0
               ? text_of(properties.content_type)
               : std::string_view();
}

/// Views into the message, and into `room` for what has to be written.
Result<std::vector<AttributeView>> read_attributes(const amqp_basic_properties_t& properties,
                                                   std::deque<std::string>& room) {
    std::vector<AttributeView> attributes;
    const auto content_type = content_type_of(properties);
    bool has_content_type = content_type.empty();
    if ((properties._flags & AMQP_BASIC_HEADERS_FLAG) != 0) {
        attributes.reserve(static_cast<std::size_t>(properties.headers.num_entries) + 1);
        for (int i = 0; i < properties.headers.num_entries; ++i) {
            const amqp_table_entry_t& entry = properties.headers.entries[i];
            const std::string_view name = attribute_of(text_of(entry.key));
            if (name.empty()) {
                continue;
            }
            has_content_type = has_content_type || name == kContentType;
            if (entry.value.kind == AMQP_FIELD_KIND_UTF8 ||
                entry.value.kind == AMQP_FIELD_KIND_BYTES) {
                attributes.emplace_back(name, text_of(entry.value.value.bytes));
                continue;
            }
            auto text = written(entry.value);
            if (!text) {
                return fail(
                    ErrorCode::kInvalidArgument,
                    fmt::format("header {} is no text, number or boolean", text_of(entry.key)));
            }
            attributes.emplace_back(name, room.emplace_back(*std::move(text)));
        }
    }
    if (attributes.empty()) {
        return fail(ErrorCode::kInvalidArgument,
                    "there is neither a header cloudEvents_specversion nor the content type "
                    "application/cloudevents+json");
    }
    if (!has_content_type) {
        attributes.emplace_back(kContentType, content_type);
    }
    return attributes;
}

/// Takes the body only if it succeeds.
Result<Event> read_event(const amqp_basic_properties_t& properties, std::string& body) {
    const auto content_type = content_type_of(properties);
    if (content_type.starts_with(kStructuredJson)) {
        return from_json(body);
    }
    if (content_type.starts_with(kStructured)) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("content type {} is not read; send events one by one as {}",
                                content_type, kStructuredJson));
    }
    std::deque<std::string> room;
    INSTEP_TRY_ASSIGN(const auto attributes, read_attributes(properties, room));
    INSTEP_TRY_ASSIGN(Event event, from_attributes(attributes, {}));
    if (body.size() > kEventDataBytesMax) {
        return fail(ErrorCode::kLimitExceeded, fmt::format("{} bytes of data; the limit is {}",
                                                           body.size(), kEventDataBytesMax));
    }
    event.data = std::move(body);
    return event;
}

/// What may be the key of a message that is no event.
std::string key_of(const amqp_basic_properties_t& properties) {
    std::deque<std::string> room;
    const auto attributes = read_attributes(properties, room);
    if (!attributes) {
        return {};
    }
    for (const std::string_view name : {"partitionkey", "subject"}) {
        const auto found = std::ranges::find(*attributes, name, &AttributeView::first);
        if (found != attributes->end() && fits_attribute(found->second)) {
            return std::string(found->second);
        }
    }
    return {};
}

void set(amqp_basic_properties_t& properties, amqp_flags_t flag, amqp_bytes_t& property,
         std::string_view text) {
    if (!text.empty() && text.size() <= kShortBytesMax) {
        properties._flags |= flag;
        property = bytes_of(text);
    }
}

}  // namespace

amqp_table_entry_t text_entry(std::string_view name, std::string_view text) {
    amqp_table_entry_t entry{};
    entry.key = bytes_of(name);
    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = bytes_of(text);
    return entry;
}

const amqp_basic_properties_t& Envelope::properties(const Event& event, std::string_view sending) {
    const auto attributes = attributes_.of(event);
    header_bytes_ = 0;
    for (const auto& [name, text] : attributes) {
        header_bytes_ += kPrefix.size() + name.size() + text.size() + kEntryBytes;
    }
    headers_.clear();
    header_names_.clear();
    // All of them fit, so that none moves when the next is appended.
    header_names_.reserve(header_bytes_);
    const bool has_short_type = event.content_type.size() <= kShortBytesMax;
    for (const auto& [name, text] : attributes) {
        if (name == kContentType && has_short_type) {
            continue;
        }
        const std::size_t begin = header_names_.size();
        header_names_.append(kPrefix).append(name);
        headers_.push_back(text_entry(std::string_view(header_names_).substr(begin), text));
    }
    if (!sending.empty()) {
        headers_.push_back(text_entry(kSendingHeader, sending));
        header_bytes_ += kSendingHeader.size() + sending.size() + kEntryBytes;
    }
    properties_ = {};
    properties_._flags = AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
    properties_.headers = {.num_entries = static_cast<int>(headers_.size()),
                           .entries = headers_.data()};
    properties_.delivery_mode = kPersistent;
    set(properties_, AMQP_BASIC_CONTENT_TYPE_FLAG, properties_.content_type, event.content_type);
    set(properties_, AMQP_BASIC_MESSAGE_ID_FLAG, properties_.message_id, event.id);
    set(properties_, AMQP_BASIC_TYPE_FLAG, properties_.type, event.type);
    set(properties_, AMQP_BASIC_APP_ID_FLAG, properties_.app_id, event.source);
    set(properties_, AMQP_BASIC_CORRELATION_ID_FLAG, properties_.correlation_id,
        event.correlation_id);
    if (event.time >= Timestamp{}) {
        properties_._flags |= AMQP_BASIC_TIMESTAMP_FLAG;
        properties_.timestamp = static_cast<std::uint64_t>(
            std::chrono::floor<std::chrono::seconds>(event.time).time_since_epoch().count());
    }
    header_bytes_ +=
        event.id.size() + event.type.size() + event.source.size() + event.correlation_id.size();
    return properties_;
}

std::string_view routing_key_of(const Event& event) {
    std::string_view key(event.type);
    if (key.size() > kShortBytesMax) {
        key = key.substr(0, kShortBytesMax);
        while (!is_utf8(key)) {
            key.remove_suffix(1);
        }
    }
    return key;
}

Delivery read_message(const amqp_basic_properties_t& properties, std::string body,
                      std::uint32_t partition, Position position) {
    Delivery delivery{.partition = partition, .position = position, .event = {}, .malformed = {}};
    auto event = read_event(properties, body);
    if (event) {
        delivery.event = *std::move(event);
        return delivery;
    }
    delivery.malformed =
        Error{ErrorCode::kCorrupt, fmt::format("message {} of partition {} is no event: {}",
                                               position, partition, event.error().message)};
    delivery.event.key = key_of(properties);
    delivery.event.data = std::move(body);
    return delivery;
}

std::string name_of_sending(const amqp_basic_properties_t& properties, const Delivery& delivery) {
    if (const auto sending = sending_of(properties)) {
        return fmt::format("{} {}", sending->run, sending->number);
    }
    const Event& event = delivery.event;
    return delivery.malformed ? event.data : fmt::format("{}\n{}", event.source, event.id);
}

Assembly::Progress Assembly::add(const amqp_frame_t& frame) {
    if (frame.frame_type == AMQP_FRAME_HEADER) {
        properties_ = static_cast<const amqp_basic_properties_t*>(frame.payload.properties.decoded);
        bytes_left_ = frame.payload.properties.body_size;
        body_.reserve(std::min<std::uint64_t>(bytes_left_, kEventJsonBytesMax));
    } else if (properties_ != nullptr) {
        const std::string_view part = text_of(frame.payload.body_fragment);
        body_.append(part);
        bytes_left_ -= std::min<std::uint64_t>(part.size(), bytes_left_);
    }
    return properties_ != nullptr && bytes_left_ == 0 ? Progress::kComplete : Progress::kUnderWay;
}

}  // namespace instep::rabbitmq
