#include "orders.hpp"

#include "entrance.hpp"
#include "events.hpp"
#include "verdicts.hpp"

#include <charconv>

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

/// "SKU:QUANTITY:CENTS"
Result<OrderLine> parse_line(const std::string& text) {
    const auto wrong = [&] {
        return fail(ErrorCode::kInvalidArgument,
                    "--line " + text + ": write it as SKU:QUANTITY:CENTS");
    };
    const std::size_t price = text.rfind(':');
    const std::size_t quantity = price == std::string::npos ? price : text.rfind(':', price - 1);
    if (quantity == std::string::npos || quantity == 0) {
        return wrong();
    }
    OrderLine line;
    line.sku = text.substr(0, quantity);
    const char* begin = text.data();
    const auto amount = std::from_chars(begin + quantity + 1, begin + price, line.quantity);
    const auto cents = std::from_chars(begin + price + 1, begin + text.size(), line.price_cents);
    const bool is_read = amount.ec == std::errc{} && amount.ptr == begin + price &&
                         cents.ec == std::errc{} && cents.ptr == begin + text.size();
    constexpr std::int64_t kMost = 1'000'000'000;
    if (!is_read || line.quantity < 1 || line.quantity > kMost || line.price_cents < 0 ||
        line.price_cents > kMost) {
        return wrong();
    }
    return line;
}

Result<OrderCreated> read_order(const Arguments& arguments) {
    OrderCreated order;
    order.currency = "EUR";
    INSTEP_TRY_ASSIGN(order.order_id, arguments.require("id"));
    INSTEP_TRY_ASSIGN(order.user_id, arguments.require("user"));
    for (const std::string& text : arguments.all("line")) {
        INSTEP_TRY_ASSIGN(const OrderLine line, parse_line(text));
        order.total_cents += line.quantity * line.price_cents;
        order.lines.push_back(line);
    }
    if (order.lines.empty()) {
        return fail(ErrorCode::kInvalidArgument, "an order needs a --line SKU:QUANTITY:CENTS");
    }
    return order;
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
    return {handlers,
            "SELECT order_id, what, correlation_id FROM order_history ORDER BY order_id, what"};
}

Result<void> place_order(const Arguments& arguments) {
    INSTEP_TRY_ASSIGN(const OrderCreated order, read_order(arguments));
    INSTEP_TRY_ASSIGN(Entrance request, Entrance::open(arguments));
    INSTEP_TRY_ASSIGN(const std::int64_t added,
                      request.transaction().execute(
                          "INSERT INTO orders (order_id, user_id, total_cents, status) "
                          "SELECT $1, user_id, $3, 'created' FROM carts WHERE user_id = $2",
                          {std::string_view(order.order_id), std::string_view(order.user_id),
                           order.total_cents}));
    if (added == 0) {
        return fail(ErrorCode::kNotFound, "user " + order.user_id + " has no cart (yet)");
    }
    INSTEP_TRY(
        add_history(request.transaction(), order.order_id, "created", request.correlation_id()));
    if (arguments.find("schema") == "1") {
        INSTEP_TRY(
            request.append(kOrderTopic, order.order_id,
                           OrderCreatedV1{order.order_id, order.user_id, order.total_cents}));
    } else {
        INSTEP_TRY(request.append(kOrderTopic, order.order_id, order));
    }
    return request.commit();
}

Result<void> ship_order(const Arguments& arguments) {
    INSTEP_TRY_ASSIGN(const std::string id, arguments.require("id"));
    INSTEP_TRY_ASSIGN(Entrance request, Entrance::open(arguments));
    std::string user;
    {
        INSTEP_TRY_ASSIGN(const auto rows,
                          request.transaction().query(
                              "UPDATE orders SET status = 'shipped' WHERE order_id = $1 AND "
                              "status = 'created' RETURNING user_id",
                              {std::string_view(id)}));
        INSTEP_TRY_ASSIGN(const bool was_waiting, rows->next());
        if (!was_waiting) {
            return fail(ErrorCode::kConflict,
                        "order " + id + " does not exist or was shipped before");
        }
        user = rows->text(0);
    }
    INSTEP_TRY(add_history(request.transaction(), id, "shipped", request.correlation_id()));
    INSTEP_TRY(request.append(kOrderTopic, id, OrderShipped{id, user}));
    return request.commit();
}

}  // namespace shop
