#include "message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

namespace instep::kafka_broker {

namespace {

constexpr std::string_view kPrefix = "ce_";
constexpr std::string_view kDataType = "datacontenttype";
constexpr std::string_view kContentType = "content-type";
constexpr std::string_view kStructured = "application/cloudevents+json";
constexpr std::string_view kAnyStructured = "application/cloudevents";

void add(rd_kafka_headers_t& headers, std::string_view name, std::string_view value) {
    rd_kafka_header_add(&headers, name.data(), static_cast<ssize_t>(name.size()), value.data(),
                        static_cast<ssize_t>(value.size()));
}

std::string_view text_of(const void* bytes, std::size_t size) {
    return bytes == nullptr ? std::string_view()
                            : std::string_view(static_cast<const char*>(bytes), size);
}

/// Media types are written in any case.
bool starts_with_type(std::string_view text, std::string_view type) {
    return text.size() >= type.size() &&
           std::ranges::equal(text.substr(0, type.size()), type, {},
                              [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
}

struct Envelope {
    std::vector<AttributeView> attributes;
    std::string_view content_type;
    bool has_key = false;
};

Envelope read_headers(const rd_kafka_message_t& message) {
    Envelope envelope;
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return envelope;
    }
    const std::size_t count = rd_kafka_header_cnt(headers);
    envelope.attributes.reserve(count);
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    for (std::size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         ++i) {
        std::string_view rest(name);
        if (rest == kContentType) {
            envelope.content_type = text_of(value, size);
        } else if (rest.starts_with(kPrefix)) {
            rest.remove_prefix(kPrefix.size());
            envelope.has_key = envelope.has_key || rest == "partitionkey" || rest == "subject";
            envelope.attributes.emplace_back(rest, text_of(value, size));
        }
    }
    return envelope;
}

Result<Event> read_event(const rd_kafka_message_t& message) {
    const std::string_view data = text_of(message.payload, message.len);
    Envelope envelope = read_headers(message);
    if (starts_with_type(envelope.content_type, kStructured)) {
        return from_json(data);
    }
    if (starts_with_type(envelope.content_type, kAnyStructured)) {
        return fail(ErrorCode::kUnsupported, fmt::format("its format \"{}\" is not read, only {}",
                                                         envelope.content_type, kStructured));
    }
    if (envelope.attributes.empty()) {
        return fail(ErrorCode::kInvalidArgument,
                    "it has no header ce_specversion and is not application/cloudevents+json");
    }
    if (!envelope.content_type.empty()) {
        // CloudEvents' SDK for JavaScript writes both; the binding names this one.
        std::erase_if(envelope.attributes,
                      [](const AttributeView& attribute) { return attribute.first == kDataType; });
        envelope.attributes.emplace_back(kDataType, envelope.content_type);
    }
    if (!envelope.has_key && message.key_len > 0) {
        envelope.attributes.emplace_back("partitionkey", text_of(message.key, message.key_len));
    }
    return from_attributes(envelope.attributes, std::string(data));
}

}  // namespace

Headers make_headers(const Event& event, AttributeViews& views) {
    const auto attributes = views.of(event);
    Headers headers(rd_kafka_headers_new(attributes.size()));
    std::string header(kPrefix);
    for (const auto& [name, value] : attributes) {
        if (name == kDataType) {
            add(*headers, kContentType, value);
            continue;
        }
        header.resize(kPrefix.size());
        header += name;
        add(*headers, header, value);
    }
    return headers;
}

Delivery read_message(const rd_kafka_message_t& message) {
    Delivery delivery;
    delivery.partition = static_cast<std::uint32_t>(message.partition);
    delivery.position = position_of(message.offset);
    auto event = read_event(message);
    if (event) {
        delivery.event = *std::move(event);
        return delivery;
    }
    delivery.event.key = text_of(message.key, message.key_len);
    delivery.event.data = text_of(message.payload, message.len);
    delivery.malformed =
        Error{event.error().code == ErrorCode::kSchemaMismatch ? ErrorCode::kSchemaMismatch
                                                               : ErrorCode::kCorrupt,
              fmt::format("message at offset {} of partition {} is no event: {}", message.offset,
                          message.partition, event.error().message)};
    return delivery;
}

std::size_t size_of(const rd_kafka_message_t& message) {
    // Of the headers only their usual size is known without reading them.
    constexpr std::size_t kHeaders = 400;
    return message.len + message.key_len + kHeaders;
}

}  // namespace instep::kafka_broker
