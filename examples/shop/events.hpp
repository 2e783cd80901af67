// The events of the shop: all that its services know of each other.
#pragma once

#include <instep/event/payload.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shop {

inline constexpr const char* kUserTopic = "users.user";
inline constexpr const char* kOrderTopic = "orders.order";
inline constexpr const char* kMailTopic = "notifications.mail";

struct UserCreated {
    static constexpr std::string_view kType = "user.created";
    std::string user_id;
    std::string email;
};
INSTEP_FIELDS(UserCreated, user_id, email)

struct OrderLine {
    std::string sku;
    std::int64_t quantity = 0;
    std::int64_t price_cents = 0;
};
INSTEP_FIELDS(OrderLine, sku, quantity, price_cents)

/// What order processes from before the lines were published still send.
struct OrderCreatedV1 {
    static constexpr std::string_view kType = "order.created";
    static constexpr std::string_view kSchema = "urn:shop:order.created:1";
    std::string order_id;
    std::string user_id;
    std::int64_t total_cents = 0;
};
INSTEP_FIELDS(OrderCreatedV1, order_id, user_id, total_cents)

struct OrderCreated {
    static constexpr std::string_view kType = "order.created";
    static constexpr std::string_view kSchema = "urn:shop:order.created:2";
    using Older = OrderCreatedV1;
    std::string order_id;
    std::string user_id;
    std::int64_t total_cents = 0;
    std::string currency;

    /// Empty if the order came as version 1.
    std::vector<OrderLine> lines;
};
INSTEP_FIELDS(OrderCreated, order_id, user_id, total_cents, currency, lines)

/// Everything was sold in euros while there was only version 1.
inline OrderCreated upcast(OrderCreatedV1 older) {
    return {std::move(older.order_id), std::move(older.user_id), older.total_cents, "EUR", {}};
}

struct OrderShipped {
    static constexpr std::string_view kType = "order.shipped";
    std::string order_id;
    std::string user_id;
};
INSTEP_FIELDS(OrderShipped, order_id, user_id)

struct MailSent {
    static constexpr std::string_view kType = "mail.sent";
    std::string order_id;
    std::string subject;
};
INSTEP_FIELDS(MailSent, order_id, subject)

}  // namespace shop
