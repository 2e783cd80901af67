// What the order service tells others, and what its own event store holds.
#pragma once

#include <instep/event/payload.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace orders {

inline constexpr std::string_view kTopic = "orders.order";

/// As the first release wrote it, which knew one currency. Such events stay in the event store,
/// and come from that release as long as it still runs somewhere.
struct OrderCreatedV1 {
    static constexpr std::string_view kType = "order.created";
    static constexpr std::string_view kSchema = "urn:orders:order.created:1";
    std::string order_id;
    std::string customer_id;
    std::int64_t total_cents = 0;
};
INSTEP_FIELDS(OrderCreatedV1, order_id, customer_id, total_cents)

struct OrderCreated {
    static constexpr std::string_view kType = "order.created";
    static constexpr std::string_view kSchema = "urn:orders:order.created:2";
    using Older = OrderCreatedV1;
    std::string order_id;
    std::string customer_id;

    /// In the currency's minor unit.
    std::int64_t total_cents = 0;
    std::string currency;
};
INSTEP_FIELDS(OrderCreated, order_id, customer_id, total_cents, currency)

inline OrderCreated upcast(OrderCreatedV1 older) {
    return {std::move(older.order_id), std::move(older.customer_id), older.total_cents, "EUR"};
}

/// When it was paid, or shipped, is the event's own time.
struct OrderPaid {
    static constexpr std::string_view kType = "order.paid";
    static constexpr std::string_view kSchema = "urn:orders:order.paid:1";
    std::string order_id;
};
INSTEP_FIELDS(OrderPaid, order_id)

struct OrderShipped {
    static constexpr std::string_view kType = "order.shipped";
    static constexpr std::string_view kSchema = "urn:orders:order.shipped:1";
    std::string order_id;
    std::optional<std::string> tracking_code;
};
INSTEP_FIELDS(OrderShipped, order_id, tracking_code)

}  // namespace orders
