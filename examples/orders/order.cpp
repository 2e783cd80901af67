#include "order.hpp"

#include <fmt/format.h>

#include <array>

namespace orders {

using instep::ErrorCode;
using instep::fail;
using instep::Result;

namespace {

/// An order has three events; a stream that holds more was not written by this service.
constexpr std::uint32_t kEventsMax = 100;

std::string stream_of(std::string_view order_id) { return fmt::format("order-{}", order_id); }

template <class T>
bool is(const instep::Event& event) {
    return event.type == T::kType && event.schema == instep::schema_of<T>();
}

Result<OrderCreated> read_created(const instep::Event& event) {
    if (is<OrderCreatedV1>(event)) {
        INSTEP_TRY_ASSIGN(OrderCreatedV1 older, instep::from_payload<OrderCreatedV1>(event.data));
        return upcast(std::move(older));
    }
    return instep::from_payload<OrderCreated>(event.data);
}

template <instep::Payload T>
instep::NewEvent event_of(const T& payload) {
    instep::NewEvent event;
    event.type = T::kType;
    event.schema = instep::schema_of<T>();
    event.data = instep::to_payload(payload);
    return event;
}

Result<void> require(const Order& order, std::string_view status, std::string_view action) {
    if (order.version == 0) {
        return fail(ErrorCode::kNotFound, fmt::format("there is no order {}", order.id));
    }
    if (order.status != status) {
        return fail(ErrorCode::kConflict,
                    fmt::format("order {} is {} and cannot be {}; only one that is {} can",
                                order.id, order.status, action, status));
    }
    return {};
}

Result<void> keep(instep::Transaction& transaction, const Order& order) {
    INSTEP_TRY(transaction.execute(
        "INSERT INTO orders (order_id, customer_id, total_cents, currency, status) "
        "VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (order_id) DO UPDATE SET status = excluded.status",
        {std::string_view(order.id), std::string_view(order.customer_id), order.total_cents,
         std::string_view(order.currency), std::string_view(order.status)}));
    return {};
}

}  // namespace

Result<void> evolve(Order& order, const instep::Event& event) {
    if (is<OrderCreated>(event) || is<OrderCreatedV1>(event)) {
        INSTEP_TRY_ASSIGN(OrderCreated created, read_created(event));
        order.customer_id = std::move(created.customer_id);
        order.total_cents = created.total_cents;
        order.currency = std::move(created.currency);
        order.status = "created";
    } else if (is<OrderPaid>(event)) {
        order.status = "paid";
    } else if (is<OrderShipped>(event)) {
        order.status = "shipped";
    } else {
        return fail(ErrorCode::kSchemaMismatch,
                    fmt::format("order {} has an event {} of schema \"{}\", which this program "
                                "does not know; use a newer one",
                                order.id, event.type, event.schema));
    }
    order.version = event.stream_version;
    return {};
}

Result<instep::NewEvent> create(const Order& order, const OrderCreated& created, Release release) {
    if (order.version != 0) {
        return fail(ErrorCode::kConflict,
                    fmt::format("order {} has been placed already", order.id));
    }
    if (created.total_cents <= 0) {
        return fail(ErrorCode::kInvalidArgument, "an order's total is above 0");
    }
    if (release == Release::kSecond) {
        return event_of(created);
    }
    const OrderCreatedV1 older{created.order_id, created.customer_id, created.total_cents};
    if (upcast(older).currency != created.currency) {
        return fail(ErrorCode::kInvalidArgument, "the first release knows no currency but EUR");
    }
    return event_of(older);
}

Result<instep::NewEvent> pay(const Order& order) {
    INSTEP_TRY(require(order, "created", "paid"));
    return event_of(OrderPaid{order.id});
}

Result<instep::NewEvent> ship(const Order& order, std::optional<std::string> tracking_code) {
    INSTEP_TRY(require(order, "paid", "shipped"));
    return event_of(OrderShipped{order.id, std::move(tracking_code)});
}

Result<std::vector<instep::Event>> read_history(instep::Transaction& transaction,
                                                std::string_view order_id) {
    return instep::read_stream(transaction, "orders", stream_of(order_id), 1, kEventsMax);
}

Result<Order> load(instep::Transaction& transaction, const std::string& order_id) {
    Order order;
    order.id = order_id;
    INSTEP_TRY_ASSIGN(const auto history, read_history(transaction, order_id));
    for (const instep::Event& event : history) {
        INSTEP_TRY(evolve(order, event));
    }
    return order;
}

Result<Order> append(instep::Transaction& transaction, Order order, instep::NewEvent event) {
    event.topic = kTopic;
    event.key = order.id;
    event.stream = stream_of(order.id);
    const auto expected = order.version == 0 ? instep::ExpectedVersion::none()
                                             : instep::ExpectedVersion::exactly(order.version);
    INSTEP_TRY(instep::append(transaction, std::array{event}, expected));
    instep::Event appended;
    appended.type = event.type;
    appended.schema = event.schema;
    appended.data = event.data;
    appended.stream_version = order.version + 1;
    INSTEP_TRY(evolve(order, appended));
    INSTEP_TRY(keep(transaction, order));
    return order;
}

}  // namespace orders
