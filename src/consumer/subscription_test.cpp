#include "instep/consumer/subscription.hpp"

#include "instep/event/trace_context.hpp"
#include "tests/support/sync_system.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace shop {

struct OrderPlacedV1 {
    static constexpr std::string_view kType = "order.placed";
    static constexpr std::string_view kSchema = "urn:order.placed:1";
    std::string order_id;
    std::int64_t total = 0;
};
INSTEP_FIELDS(OrderPlacedV1, order_id, total)

struct OrderPlaced {
    static constexpr std::string_view kType = "order.placed";
    static constexpr std::string_view kSchema = "urn:order.placed:2";
    using Older = OrderPlacedV1;
    std::string order_id;
    std::int64_t total_cents = 0;
};
INSTEP_FIELDS(OrderPlaced, order_id, total_cents)

OrderPlaced upcast(OrderPlacedV1 older) { return {std::move(older.order_id), older.total * 100}; }

}  // namespace shop

namespace instep {
namespace {

using shop::OrderPlaced;
using test::SyncSystem;
using test::value_of;

static_assert(HasOlder<OrderPlaced> && !HasOlder<shop::OrderPlacedV1>);

class SubscriptionTest : public testing::Test {
protected:
    static Event event(std::string data, std::string schema = "urn:order.placed:2") {
        Event event;
        event.id = "e1";
        event.source = "shop";
        event.type = "order.placed";
        event.key = "o-1";
        event.schema = std::move(schema);
        event.data = std::move(data);
        return event;
    }

    Result<ApplyCounts> handle(HandlerSet handlers, const Event& next) {
        SubscriptionHandler handler("test", std::move(handlers), system.random, system.logger);
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*system.owner, TransactionMode::kWrite));
        const Event* one = &next;
        INSTEP_TRY_ASSIGN(const ApplyCounts counts, handler.apply(transaction, {&one, 1}));
        INSTEP_TRY(transaction.commit());
        return counts;
    }

    HandlerSet typed() {
        HandlerSet handlers;
        handlers.on<OrderPlaced>([this](HandlerContext&, const OrderPlaced& order) {
            seen = order;
            return Verdict::done();
        });
        return handlers;
    }

    SyncSystem system;
    OrderPlaced seen;
};

TEST_F(SubscriptionTest, ReadsThePayload) {
    EXPECT_EQ(handle(typed(), event(R"({"order_id":"o-1","total_cents":500})"))->applied, 1U);
    EXPECT_EQ(seen.total_cents, 500);
}

TEST_F(SubscriptionTest, TurnsAnOlderVersionIntoTheNewestOne) {
    const Event old = event(R"({"order_id":"o-1","total":5})", "urn:order.placed:1");
    EXPECT_EQ(handle(typed(), old)->applied, 1U);
    EXPECT_EQ(seen.total_cents, 500);
}

TEST_F(SubscriptionTest, RefusesAPayloadThatDoesNotReadAndNamesTheField) {
    const auto done = handle(typed(), event(R"({"order_id":"o-1","total_cents":"x"})"));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, ErrorCode::kRejected);
    EXPECT_NE(done.error().message.find("total_cents: is text"), std::string::npos);
}

TEST_F(SubscriptionTest, CountsWhatNoFunctionIsFor) {
    Event other = event("{}");
    other.type = "order.cancelled";
    EXPECT_EQ(handle(typed(), other)->not_addressed, 1U);
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_inbox"), "0");
}

TEST_F(SubscriptionTest, RefusesASchemaFromTheFutureUntilAProgramKnowsIt) {
    const Event newer = event(R"({"order_id":"o-1"})", "urn:order.placed:3");
    const auto refused = handle(typed(), newer);
    ASSERT_FALSE(refused) << "an event that is passed over now is lost to the next program";
    EXPECT_EQ(refused.error().code, ErrorCode::kRejected);
    EXPECT_NE(refused.error().message.find("urn:order.placed:3"), std::string::npos);
    HandlerSet next = typed();
    next.on("order.placed", [](HandlerContext&) { return Verdict::done(); });
    EXPECT_EQ(handle(next, newer)->applied, 1U);
}

TEST_F(SubscriptionTest, TheRestCanBeCaught) {
    HandlerSet handlers = typed();
    handlers.otherwise([](HandlerContext&) { return Verdict::retry("a schema from the future"); });
    EXPECT_FALSE(handle(handlers, event("{}", "urn:order.placed:3")));
    HandlerSet by_type;
    by_type.on("order.placed", [](HandlerContext&) { return Verdict::done(); });
    EXPECT_EQ(handle(by_type, event("{}", "urn:order.placed:3"))->applied, 1U);
}

TEST_F(SubscriptionTest, PublishesInTheSameTransactionAndCarriesOn) {
    Event cause = event("{}");
    cause.trace_parent = to_trace_parent(start_trace(system.random));
    HandlerSet handlers;
    const auto publishes = [](HandlerContext& context) {
        EXPECT_TRUE(context.publish("mail.sent", "o-1", OrderPlaced{"o-1", 5}));
        return Verdict::done();
    };
    handlers.on("order.placed", publishes);
    ASSERT_TRUE(handle(handlers, cause));
    EXPECT_EQ(value_of(*system.owner,
                       "SELECT correlation_id || ' ' || causation_id || ' ' || type || ' ' || "
                       "\"schema\" FROM instep_log"),
              "e1 e1 order.placed urn:order.placed:2");
    const auto trace =
        parse_trace_parent(value_of(*system.owner, "SELECT trace_parent FROM instep_log"));
    ASSERT_TRUE(trace);
    EXPECT_EQ(trace_id(*trace), trace_id(*parse_trace_parent(cause.trace_parent)));
    EXPECT_NE(trace->span, parse_trace_parent(cause.trace_parent)->span);
}

TEST_F(SubscriptionTest, PublishesNothingWhenItFails) {
    HandlerSet handlers;
    handlers.on("order.placed", [](HandlerContext& context) {
        EXPECT_TRUE(context.publish("mail.sent", "o-1", OrderPlaced{"o-1", 5}));
        return Verdict::retry("no");
    });
    EXPECT_FALSE(handle(handlers, event("{}")));
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_log"), "0");
}

/// Promises orders with a text as their id, and nothing else.
PublishContract orders_only() {
    return PublishContract::compile(
               R"({"$defs": {"order.placed": {"x-topic": "shop.order", "type": "object",)"
               R"("properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}}})")
        .value();
}

NewEvent order(std::string data) {
    NewEvent event;
    event.topic = "shop.order";
    event.key = "o-1";
    event.type = "order.placed";
    event.data = std::move(data);
    return event;
}

TEST_F(SubscriptionTest, PublishesNothingThatViolatesTheContract) {
    HandlerSet handlers;
    handlers.publishes(orders_only()).on("order.placed", [](HandlerContext& context) {
        const auto published = context.publish(order(R"({"order_id":7})"));
        return published ? Verdict::done() : Verdict::retry(published.error().message);
    });
    const auto refused = handle(handlers, event("{}"));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kRejected);
    EXPECT_NE(refused.error().message.find("data.order_id is integer, not string"),
              std::string::npos)
        << refused.error().message;
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_log"), "0");
}

TEST_F(SubscriptionTest, PublishesWhatKeepsToTheContract) {
    HandlerSet handlers;
    handlers.publishes(orders_only()).on("order.placed", [](HandlerContext& context) {
        EXPECT_TRUE(context.publish("shop.order", "o-1", OrderPlaced{"o-1", 5}));
        return Verdict::done();
    });
    ASSERT_TRUE(handle(handlers, event("{}")));
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_log"), "1");
}

TEST_F(SubscriptionTest, AHandlerThatOverlooksARefusalIsNotDone) {
    HandlerSet handlers;
    handlers.publishes(orders_only()).on("order.placed", [](HandlerContext& context) {
        (void)context.publish(order("{}"));
        return Verdict::done();
    });
    const auto refused = handle(handlers, event("{}"));
    ASSERT_FALSE(refused) << "the event that it was to publish is lost";
    EXPECT_NE(refused.error().message.find("data.order_id is missing"), std::string::npos);
    HandlerSet decided;
    decided.publishes(orders_only()).on("order.placed", [](HandlerContext& context) {
        return context.publish(order("{}")) ? Verdict::done() : Verdict::discard("of no use");
    });
    EXPECT_EQ(handle(decided, event("{}"))->discarded, 1U);
}

TEST_F(SubscriptionTest, TheIdempotencyKeyIsTheEventsForEver) {
    std::string key;
    HandlerSet handlers;
    handlers.on("order.placed", [&](HandlerContext& context) {
        key = context.idempotency_key();
        return Verdict::done();
    });
    ASSERT_TRUE(handle(handlers, event("{}")));
    EXPECT_EQ(key, "shop/e1");
}

TEST_F(SubscriptionTest, LogsWithTheContextOfTheEvent) {
    Event cause = event("{}");
    cause.correlation_id = "request-7";
    cause.trace_parent = to_trace_parent(start_trace(system.random));
    HandlerSet handlers;
    handlers.on("order.placed", [](HandlerContext& context) {
        context.logger().info("mail.sent", {{"to", "ada"}});
        return Verdict::done();
    });
    ASSERT_TRUE(handle(handlers, cause));
    EXPECT_EQ(system.log_lines.count("mail.sent"), 1U);
    const std::string trace(trace_id(*parse_trace_parent(cause.trace_parent)));
    for (const std::string& field : {std::string("event_id=e1"), "trace_id=" + trace,
                                     std::string("correlation_id=request-7")}) {
        EXPECT_EQ(system.log_lines.count(field), 1U) << field;
    }
}

TEST_F(SubscriptionTest, TellsOfEventsThatTookTooLong) {
    std::chrono::seconds time{3};
    HandlerSet handlers;
    handlers.on("order.placed", [&](HandlerContext&) -> Verdict {
        system.clock.advance(time);
        throw std::runtime_error("no");
    });
    SubscriptionHandler handler("test", handlers, system.random, system.logger,
                                std::chrono::seconds(2));
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite).value();
    const Event slow = event("{}");
    const Event* one = &slow;
    EXPECT_FALSE(handler.apply(transaction, {&one, 1}));
    EXPECT_EQ(handler.slow_events(), 1U);
    EXPECT_EQ(system.log_lines.count("consumer.slow_handler"), 1U);
    time = std::chrono::seconds{1};
    const Event next = [&] {
        Event other = event("{}");
        other.id = "e2";
        return other;
    }();
    one = &next;
    EXPECT_FALSE(handler.apply(transaction, {&one, 1}));
    EXPECT_EQ(handler.slow_events(), 1U);
}

}  // namespace
}  // namespace instep
