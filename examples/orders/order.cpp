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

/// Which evolve() this is. Count it up whenever the same events come to something else, or to more,
/// than before: then snapshots of the old rules are passed over, and replaced one by one.
constexpr std::int64_t kFold = 1;

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
        "INSERT INTO orders (order_id, customer_id, total_cents, currency, status, version, fold) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (order_id) DO UPDATE SET "
        "customer_id = excluded.customer_id, total_cents = excluded.total_cents, "
        "currency = excluded.currency, status = excluded.status, version = excluded.version, "
        "fold = excluded.fold",
        {std::string_view(order.id), std::string_view(order.customer_id), order.total_cents,
         std::string_view(order.currency), std::string_view(order.status),
         static_cast<std::int64_t>(order.version), kFold}));
    return {};
}

/// The order without events if it has none, or none of these rules.
Result<Order> read_snapshot(instep::Transaction& transaction, const std::string& order_id) {
    Order order;
    order.id = order_id;
    INSTEP_TRY_ASSIGN(
        const auto row,
        transaction.query("SELECT customer_id, total_cents, currency, status, version FROM orders "
                          "WHERE order_id = $1 AND fold = $2",
                          {std::string_view(order_id), kFold}));
    INSTEP_TRY_ASSIGN(const bool is_there, row->next());
    if (is_there) {
        order.customer_id = row->text(0);
        order.total_cents = row->integer(1);
        order.currency = row->text(2);
        order.status = row->text(3);
        order.version = static_cast<std::uint64_t>(row->integer(4));
    }
    return order;
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
    INSTEP_TRY_ASSIGN(Order order, read_snapshot(transaction, order_id));
    INSTEP_TRY_ASSIGN(const auto newer,
                      instep::read_stream(transaction, "orders", stream_of(order_id),
                                          order.version + 1, kEventsMax));
    for (const instep::Event& event : newer) {
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
