// The read model: keeps order_summary and customer_summary by the events of the order service.
//
//     read_model apply FILE      make the tables
//     read_model run FILE        run until SIGINT or SIGTERM; --apply makes the tables first
//     read_model list FILE       print both tables
#include "events.hpp"
#include "program.hpp"

#include <fmt/format.h>
#include <instep/base/clock.hpp>
#include <instep/consumer/subscription.hpp>
#include <instep/telemetry/logger.hpp>

#include <span>
#include <string>

namespace {

using instep::HandlerContext;
using instep::Result;
using instep::Transaction;
using instep::Verdict;
using orders::OrderCreated;
using orders::OrderPaid;
using orders::OrderShipped;

/// The line has the correlation id of the command that it all came of.
Verdict verdict_of(const HandlerContext& context, const Result<void>& outcome) {
    if (!outcome) {
        return Verdict::retry(outcome.error().message);
    }
    context.logger().info("read_model.takes",
                          {{"type", context.event().type}, {"order", context.event().key}});
    return Verdict::done();
}

Result<void> create(Transaction& transaction, const OrderCreated& order) {
    INSTEP_TRY(transaction.execute(
        "INSERT INTO order_summary (order_id, customer_id, total_cents, currency, status, version) "
        "VALUES ($1, $2, $3, $4, 'created', 1)",
        {std::string_view(order.order_id), std::string_view(order.customer_id), order.total_cents,
         std::string_view(order.currency)}));
    INSTEP_TRY(transaction.execute(
        "INSERT INTO customer_summary (customer_id, currency, orders, paid_cents) "
        "VALUES ($1, $2, 1, 0) ON CONFLICT (customer_id, currency) "
        "DO UPDATE SET orders = customer_summary.orders + 1",
        {std::string_view(order.customer_id), std::string_view(order.currency)}));
    return {};
}

/// The events of an order come in order and each once in effect; the condition on the version
/// would tell if they did not.
Result<void> advance(const HandlerContext& context, const std::string& order_id,
                     std::string_view status) {
    const auto version = static_cast<std::int64_t>(context.event().stream_version);
    INSTEP_TRY_ASSIGN(const auto changed,
                      context.transaction().execute("UPDATE order_summary SET status = $1, "
                                                    "version = $2 WHERE order_id = $3 "
                                                    "AND version = $2 - 1",
                                                    {status, version, std::string_view(order_id)}));
    if (changed != 1) {
        return instep::fail(
            instep::ErrorCode::kConflict,
            fmt::format("order_summary does not have order {} at version {}; compare with "
                        "`orders show`",
                        order_id, version - 1));
    }
    return {};
}

Result<void> pay(const HandlerContext& context, const OrderPaid& order) {
    INSTEP_TRY(advance(context, order.order_id, "paid"));
    INSTEP_TRY(context.transaction().execute(
        "UPDATE customer_summary SET paid_cents = paid_cents + o.total_cents FROM order_summary o "
        "WHERE o.order_id = $1 AND customer_summary.customer_id = o.customer_id "
        "AND customer_summary.currency = o.currency",
        {std::string_view(order.order_id)}));
    return {};
}

Result<void> ship(const HandlerContext& context, const OrderShipped& order) {
    INSTEP_TRY(advance(context, order.order_id, "shipped"));
    if (order.tracking_code) {
        INSTEP_TRY(context.transaction().execute(
            "UPDATE order_summary SET tracking_code = $1 WHERE order_id = $2",
            {std::string_view(*order.tracking_code), std::string_view(order.order_id)}));
    }
    return {};
}

instep::Handlers handlers() {
    instep::Handlers handlers;
    handlers["summary"]
        .on<OrderCreated>([](HandlerContext& context, const OrderCreated& order) {
            return verdict_of(context, create(context.transaction(), order));
        })
        .on<OrderPaid>([](HandlerContext& context, const OrderPaid& order) {
            return verdict_of(context, pay(context, order));
        })
        .on<OrderShipped>([](HandlerContext& context, const OrderShipped& order) {
            return verdict_of(context, ship(context, order));
        })
        // From a newer release: it waits, with what follows of its order, for a program that
        // knows it.
        .otherwise([](HandlerContext& context) {
            return Verdict::retry(fmt::format("{} of schema \"{}\" is not known to this program",
                                              context.event().type, context.event().schema));
        });
    return handlers;
}

Result<void> print_rows(Transaction& transaction, std::string_view sql) {
    INSTEP_TRY_ASSIGN(const auto rows, transaction.query(sql));
    while (true) {
        INSTEP_TRY_ASSIGN(const bool has_row, rows->next());
        if (!has_row) {
            return {};
        }
        fmt::print("{}\n", rows->text(0));
    }
}

Result<void> list(const instep::ServiceConfig& config) {
    const instep::SystemClock clock;
    INSTEP_TRY_ASSIGN(const auto database, instep::open_database(config.database, clock));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    INSTEP_TRY_ASSIGN(auto transaction,
                      Transaction::begin(*connection, instep::TransactionMode::kRead));
    INSTEP_TRY(print_rows(transaction,
                          "SELECT order_id || ' ' || status || ' ' || customer_id || ' ' || "
                          "total_cents || ' ' || currency || coalesce(' ' || tracking_code, '') "
                          "FROM order_summary ORDER BY order_id"));
    return print_rows(transaction,
                      "SELECT customer_id || ': ' || orders || ' orders, ' || paid_cents || ' ' || "
                      "currency || ' paid' FROM customer_summary ORDER BY customer_id, currency");
}

Result<void> read_model(std::span<char* const> arguments) {
    const bool apply_first =
        arguments.size() == 3 && std::string_view(arguments.back()) == "--apply";
    const std::string_view command = arguments.empty() ? "" : arguments.front();
    if (arguments.size() != 2 && !(apply_first && command == "run")) {
        return instep::fail(instep::ErrorCode::kInvalidArgument,
                            "usage: read_model apply FILE | run FILE [--apply] | list FILE");
    }
    INSTEP_TRY_ASSIGN(const auto config,
                      instep::load_service_file(arguments[1], instep::process_environment()));
    if (command == "list") {
        return list(config);
    }
    if (command == "apply" || apply_first) {
        INSTEP_TRY(orders::prepare(config, "read_model.sql"));
    }
    return command == "run" ? orders::run(config, handlers()) : Result<void>{};
}

}  // namespace

int main(int argc, char** argv) {
    return orders::exit_code_of([&] { return read_model({argv + 1, argv + argc}); });
}
