#include "message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

namespace instep::redis {

namespace {

constexpr std::string_view kPrefix = "ce_";
constexpr std::string_view kContentType = "content-type";
constexpr std::string_view kContentTypeAttribute = "datacontenttype";
constexpr std::string_view kData = "data";
constexpr std::string_view kStructured = "application/cloudevents+json";

/// What the server must not be asked to say again and again: subject and key are nearly always
/// the same.
bool is_left_out(const AttributeView& attribute, const Event& event, bool has_subject) {
    return attribute.first == "partitionkey" && has_subject && attribute.second == event.key;
}

}  // namespace

std::size_t append_fields(const Event& event, AttributeViews& views, CommandWriter& writer) {
    const auto attributes = views.of(event);
    bool has_subject = false;
    std::size_t fields = 1;
    for (const AttributeView& attribute : attributes) {
        has_subject =
            has_subject || (attribute.first == "subject" && attribute.second == event.key);
        fields += is_left_out(attribute, event, has_subject) ? 0 : 1;
    }
    std::string name(kPrefix);
    for (const AttributeView& attribute : attributes) {
        if (is_left_out(attribute, event, has_subject)) {
            continue;
        }
        if (attribute.first == kContentTypeAttribute) {
            writer.argument(kContentType);
        } else {
            name.resize(kPrefix.size());
            name += attribute.first;
            writer.argument(name);
        }
        writer.argument(attribute.second);
    }
    writer.argument(kData);
    writer.argument(event.data);
    return 2 * fields;
}

void EntryReader::begin() {
    count_ = 0;
    content_type_.clear();
    data_.clear();
    foreign_.clear();
    has_data_ = false;
    is_oversized_ = false;
}

void EntryReader::name(const Token& token) {
    std::string_view text = token.text;
    is_oversized_ = is_oversized_ || token.kind == Token::Kind::kOversized;
    if (text == kData) {
        field_ = Field::kData;
    } else if (text == kContentType) {
        field_ = Field::kContentType;
    } else if (text.starts_with(kPrefix)) {
        field_ = Field::kAttribute;
        text.remove_prefix(kPrefix.size());
        if (count_ == attributes_.size()) {
            attributes_.emplace_back();
        }
        attributes_[count_].first = text;
        attributes_[count_].second.clear();
        ++count_;
    } else {
        field_ = Field::kForeign;
        foreign_.append(text).append("=");
    }
}

void EntryReader::value(const Token& token) {
    is_oversized_ = is_oversized_ || token.kind == Token::Kind::kOversized;
    switch (field_) {
        case Field::kData:
            data_ = token.text;
            has_data_ = true;
            break;
        case Field::kContentType:
            content_type_ = token.text;
            break;
        case Field::kAttribute:
            attributes_[count_ - 1].second = token.text;
            break;
        case Field::kForeign:
            foreign_.append(token.text).append("\n");
            break;
    }
}

/// CloudEvents' SDK for JavaScript writes the type twice; as on Kafka, the field without prefix
/// counts.
void EntryReader::set_content_type() {
    const auto given = std::span(attributes_).first(count_);
    const auto same = std::ranges::find(given, kContentTypeAttribute, &Attribute::first);
    const auto place = static_cast<std::size_t>(same - given.begin());
    if (place == attributes_.size()) {
        attributes_.emplace_back();
    }
    attributes_[place].first = kContentTypeAttribute;
    attributes_[place].second = content_type_;
    count_ = std::max(count_, place + 1);
}

Result<Event> EntryReader::read() {
    if (is_oversized_) {
        return fail(ErrorCode::kLimitExceeded,
                    fmt::format("a field is longer than {} bytes", RespInput::kTextBytesMax));
    }
    if (content_type_.starts_with(kStructured)) {
        return from_json(data_);
    }
    if (!content_type_.empty()) {
        set_content_type();
    }
    INSTEP_TRY_ASSIGN(Event event, from_attributes(std::span(attributes_).first(count_), {}));
    if (data_.size() > kEventDataBytesMax) {
        return fail(ErrorCode::kLimitExceeded,
                    fmt::format("its data is longer than {} bytes", kEventDataBytesMax));
    }
    // Only now: where this is no event, its data is still wanted.
    event.data = std::move(data_);
    return event;
}

Delivery EntryReader::finish(std::uint32_t partition, Position position) {
    Delivery delivery{.partition = partition, .position = position, .event = {}, .malformed = {}};
    const bool looks_like_event =
        count_ > 0 || content_type_.starts_with(kStructured) || is_oversized_;
    Error error{ErrorCode::kCorrupt, "it has none of the fields of one"};
    if (looks_like_event) {
        auto event = read();
        if (event) {
            delivery.event = std::move(*event);
            return delivery;
        }
        error.message = std::move(event).error().message;
    }
    for (std::size_t i = 0; i < count_; ++i) {
        if (attributes_[i].first == "partitionkey" ||
            (attributes_[i].first == "subject" && delivery.event.key.empty())) {
            delivery.event.key = attributes_[i].second;
        }
    }
    delivery.event.data = has_data_ ? std::move(data_) : std::move(foreign_);
    error.message = fmt::format("message {} of partition {} is no event: {}", position, partition,
                                error.message);
    delivery.malformed = std::move(error);
    return delivery;
}

}  // namespace instep::redis
