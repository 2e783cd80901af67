// An event as an entry of a stream, both ways: CloudEvents in binary mode, after the pattern of
// its Kafka binding, since there is none for Redis.
//
// Each attribute is a field "ce_<name>", the content type is "content-type", the payload is
// "data". `ce_subject` serves as the key; `ce_partitionkey` is written where the two differ. An
// entry whose content type is application/cloudevents+json has the whole event in "data".
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/event/cloudevents.hpp"
#include "instep/event/event.hpp"
#include "resp.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace instep::redis {

/// Appends the fields as arguments of a command. Returns how many arguments those are. `views` is
/// room that is used again.
std::size_t append_fields(const Event& event, AttributeViews& views, CommandWriter& writer);

/// Collects the fields of an entry, one entry after another.
class EntryReader {
public:
    void begin();

    /// A field, in turn with its value. Oversized texts make the entry malformed.
    void name(const Token& token);
    void value(const Token& token);

    /// An entry that is no event becomes a malformed delivery.
    Delivery finish(std::uint32_t partition, Position position);

private:
    enum class Field : std::uint8_t { kAttribute, kContentType, kData, kForeign };

    void set_content_type();
    Result<Event> read();

    /// Only the first `count_` are of this entry; the rest keep their memory.
    std::vector<Attribute> attributes_;
    std::size_t count_ = 0;
    Field field_ = Field::kForeign;
    std::string content_type_;
    std::string data_;

    /// All fields as text, while nothing says that it is an event.
    std::string foreign_;
    bool has_data_ = false;
    bool is_oversized_ = false;
};

}  // namespace instep::redis
