// An event as an AMQP message, both ways: CloudEvents in binary mode out; binary or structured
// mode in.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/event/cloudevents.hpp"
#include "instep/event/event.hpp"

#include <amqp.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace instep::rabbitmq {

/// AMQP's limit on names, routing keys and most properties.
inline constexpr std::size_t kShortBytesMax = 255;

/// A header of a message, or an argument of a queue or a consumer. Borrows both texts.
amqp_table_entry_t text_entry(std::string_view name, std::string_view text);

/// Turns events into properties, one at a time, with room that is used again.
class Envelope {
public:
    /// Borrows from what it is given; valid until the next call. Headers are "cloudEvents_" and the
    /// attribute; the content type and what other programs look for are properties as well.
    /// `sending`, if it is not empty, becomes a header too.
    const amqp_basic_properties_t& properties(const Event& event, std::string_view sending = {});

    /// Bytes of the properties of the last call on the wire, about.
    [[nodiscard]] std::size_t header_bytes() const { return header_bytes_; }

private:
    AttributeViews attributes_;
    std::vector<amqp_table_entry_t> headers_;
    std::string header_names_;
    amqp_basic_properties_t properties_{};
    std::size_t header_bytes_ = 0;
};

/// The event's type, cut to what a routing key may be.
std::string_view routing_key_of(const Event& event);

/// A message as an event. One that is none becomes a malformed delivery.
Delivery read_message(const amqp_basic_properties_t& properties, std::string body,
                      std::uint32_t partition, Position position);

/// Tells which sending of an event a message is, so that it is known again in another queue: an
/// event that was published twice is there twice. Of other programs' messages only what they say.
std::string name_of_sending(const amqp_basic_properties_t& properties, const Delivery& delivery);

/// Puts messages together from their frames, for one channel.
class Assembly {
public:
    enum class Progress : std::uint8_t { kUnderWay, kComplete };

    /// A basic.deliver or basic.return begins a message; its header and body follow.
    void begin() { *this = Assembly(); }
    Progress add(const amqp_frame_t& frame);

    [[nodiscard]] const amqp_basic_properties_t& properties() const { return *properties_; }
    [[nodiscard]] std::string& body() { return body_; }

private:
    const amqp_basic_properties_t* properties_ = nullptr;
    std::uint64_t bytes_left_ = 0;
    std::string body_;
};

}  // namespace instep::rabbitmq
