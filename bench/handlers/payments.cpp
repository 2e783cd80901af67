#include "bench/handlers/payments.hpp"

#include <fmt/format.h>

namespace instep::bench {

namespace {

constexpr std::int64_t kAccounts = 10'000;

}  // namespace

PaymentMade payment(std::int64_t number) {
    return {fmt::format("account-{}", number * 7919 % kAccounts), number % 1000 + 1};
}

std::vector<Event> payment_events(std::int64_t first, std::int64_t count) {
    std::vector<Event> events;
    events.reserve(static_cast<std::size_t>(count));
    for (std::int64_t number = first; number < first + count; ++number) {
        const PaymentMade made = payment(number);
        Event event;
        event.id = fmt::format("0190b2f4-1111-7222-8333-{:012}", number);
        event.source = "bank";
        event.type = PaymentMade::kType;
        event.key = made.account;
        event.time = Timestamp(std::chrono::microseconds(1'767'225'600'000'000 + number));
        event.version = {.epoch = 1, .batch = static_cast<std::uint64_t>(number) + 1, .index = 0};
        event.incarnation = 77;
        event.correlation_id = fmt::format("request-{}", number);
        event.trace_parent = fmt::format("00-{:032x}-{:016x}-01", number + 1, number + 1);
        event.data = to_payload(made);
        events.push_back(std::move(event));
    }
    return events;
}

std::int64_t sum_of_payments(std::int64_t first, std::int64_t count) {
    std::int64_t sum = 0;
    for (std::int64_t number = first; number < first + count; ++number) {
        sum += payment(number).cents;
    }
    return sum;
}

void make_accounts(Session& session, const std::string& table) {
    session.run(
        fmt::format("CREATE TABLE {0} (account text PRIMARY KEY, cents bigint NOT NULL, "
                    "payments bigint NOT NULL); INSERT INTO {0} SELECT 'account-' || n, 0, 0 "
                    "FROM generate_series(0, {1}) AS n",
                    table, kAccounts - 1));
}

std::string booking_sql(const std::string& table) {
    return fmt::format(
        "UPDATE {} SET cents = cents + $2::bigint, payments = payments + 1 WHERE account = $1",
        table);
}

HandlerSet booking_handlers(const std::string& table) {
    HandlerSet handlers;
    handlers.on<PaymentMade>(
        [sql = booking_sql(table)](HandlerContext& context, const PaymentMade& made) {
            const auto booked =
                context.transaction().execute(sql, {std::string_view(made.account), made.cents});
            return booked ? Verdict::done() : Verdict::retry(booked.error().message);
        });
    return handlers;
}

}  // namespace instep::bench
