// CloudEvents on Kafka: binary mode out, binary and structured mode in.
#pragma once

#include "client.hpp"
#include "instep/broker/broker.hpp"
#include "instep/event/cloudevents.hpp"
#include "instep/event/event.hpp"

namespace instep::kafka_broker {

using Headers = std::unique_ptr<rd_kafka_headers_t, Destroy<&rd_kafka_headers_destroy>>;

/// Every attribute as a header "ce_…", the data's type as "content-type". `views` is room that is
/// used again.
Headers make_headers(const Event& event, AttributeViews& views);

/// The offset plus one; the first is 1, so that 0 stands before all of them.
inline Position position_of(std::int64_t offset) { return static_cast<Position>(offset) + 1; }

Delivery read_message(const rd_kafka_message_t& message);

/// What receive() counts for the message.
std::size_t size_of(const rd_kafka_message_t& message);

}  // namespace instep::kafka_broker
