#include "orders.hpp"

#include "events.hpp"
#include "verdicts.hpp"

namespace shop {

using instep::ErrorCode;
using instep::fail;
using instep::HandlerContext;
using instep::Result;

namespace {

Result<void> open_cart(HandlerContext& context, const UserCreated& user) {
    INSTEP_TRY(context.transaction().execute(
        "INSERT INTO carts (user_id, correlation_id) VALUES ($1, $2)",
        {std::string_view(user.user_id), std::string_view(context.event().correlation_id)}));
    return {};
}

Result<void> add_history(instep::Transaction& transaction, std::string_view order,
                         std::string_view what, std::string_view correlation_id) {
    INSTEP_TRY(transaction.execute(
        "INSERT INTO order_history (order_id, what, correlation_id) VALUES ($1, $2, $3)",
        {order, what, correlation_id}));
    return {};
}

struct PlaceOrder {
    std::string order_id;
    std::string user_id;
    std::vector<OrderLine> lines;
};
INSTEP_FIELDS(PlaceOrder, order_id, user_id, lines)

struct ShipOrder {
    std::string order_id;
};
INSTEP_FIELDS(ShipOrder, order_id)

Result<OrderCreated> price(PlaceOrder asked) {
    constexpr std::size_t kLinesMax = 100;
    constexpr std::int64_t kMost = 1'000'000;
    if (asked.lines.empty() || asked.lines.size() > kLinesMax) {
        return fail(ErrorCode::kInvalidArgument, "an order has 1 to 100 lines");
    }
    OrderCreated order{std::move(asked.order_id), std::move(asked.user_id), 0, "EUR",
                       std::move(asked.lines)};
    for (const OrderLine& line : order.lines) {
        if (line.quantity < 1 || line.quantity > kMost || line.price_cents < 0 ||
            line.price_cents > kMost) {
            return fail(ErrorCode::kInvalidArgument,
                        "lines: a quantity is 1 to 1000000, a price 0 to 1000000 cents");
        }
        order.total_cents += line.quantity * line.price_cents;
    }
    return order;
}

Result<OrderCreated> enter_order(const Request& request) {
    INSTEP_TRY_ASSIGN(auto asked, request.body<PlaceOrder>());
    INSTEP_TRY_ASSIGN(OrderCreated order, price(std::move(asked)));
    INSTEP_TRY_ASSIGN(const std::int64_t added,
                      request.transaction.execute(
                          "INSERT INTO orders (order_id, user_id, total_cents, status) "
                          "SELECT $1, user_id, $3, 'created' FROM carts WHERE user_id = $2",
                          {std::string_view(order.order_id), std::string_view(order.user_id),
                           order.total_cents}));
    if (added == 0) {
        return fail(ErrorCode::kNotFound, "user " + order.user_id + " has no cart (yet)");
    }
    INSTEP_TRY(add_history(request.transaction, order.order_id, "created", request.correlation_id));
    return order;
}

Result<void> place_order(const Request& request) {
    INSTEP_TRY_ASSIGN(const OrderCreated order, enter_order(request));
    return request.append(kOrderTopic, order.order_id, order);
}

/// As the release before did.
Result<void> place_order_v1(const Request& request) {
    INSTEP_TRY_ASSIGN(const OrderCreated order, enter_order(request));
    return request.append(kOrderTopic, order.order_id,
                          OrderCreatedV1{order.order_id, order.user_id, order.total_cents});
}

Result<void> ship_order(const Request& request) {
    INSTEP_TRY_ASSIGN(const auto asked, request.body<ShipOrder>());
    const std::string& id = asked.order_id;
    std::string user;
    {
        INSTEP_TRY_ASSIGN(const auto rows,
                          request.transaction.query("UPDATE orders SET status = 'shipped' "
                                                    "WHERE order_id = $1 AND status = 'created' "
                                                    "RETURNING user_id",
                                                    {std::string_view(id)}));
        INSTEP_TRY_ASSIGN(const bool was_waiting, rows->next());
        if (!was_waiting) {
            return fail(ErrorCode::kConflict,
                        "order " + id + " does not exist or was shipped before");
        }
        user = rows->text(0);
    }
    INSTEP_TRY(add_history(request.transaction, id, "shipped", request.correlation_id));
    return request.append(kOrderTopic, id, OrderShipped{id, user});
}

}  // namespace

ServiceCode order_service() {
    const auto handlers = [](const std::string&) {
        instep::Handlers all;
        all["carts"].on<UserCreated>([](HandlerContext& context, const UserCreated& user) {
            return done_or_retry(open_cart(context, user));
        });
        all["mails"].on<MailSent>([](HandlerContext& context, const MailSent& mail) {
            return done_or_retry(add_history(context.transaction(), mail.order_id,
                                             "mailed: " + mail.subject,
                                             context.event().correlation_id));
        });
        return all;
    };
    const auto requests = [](const Arguments& arguments) {
        const bool is_older = arguments.find("schema") == "1";
        return std::vector<RequestRoute>{{"/orders", is_older ? place_order_v1 : place_order},
                                         {"/shipments", ship_order}};
    };
    return {handlers,
            "SELECT order_id, what, correlation_id FROM order_history ORDER BY order_id, what",
            requests};
}

}  // namespace shop
