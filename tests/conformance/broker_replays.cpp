#include "tests/conformance/broker_conformance.hpp"

#include <gmock/gmock.h>

namespace instep::test {

namespace {

using namespace std::chrono_literals;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::size_t kUnbounded = 1 << 30;

}  // namespace

TEST_P(BrokerReplays, GoesBackForWhoeverHoldsThePartitionNext) {
    given_topic(1);
    const auto events = new_events(6);
    publish(0, events);
    auto subscriber = join("billing", "a");
    const auto first = collect(*subscriber, 6);
    acknowledge(*subscriber, first);
    if (broker().features().rewinds == Rewinds::kNever) {
        EXPECT_EQ(subscriber->rewind(0, first[1].position).error().code, ErrorCode::kUnsupported);
        const auto kept = broker().kept(topic());
        ASSERT_FALSE(kept);
        EXPECT_EQ(kept.error().code, ErrorCode::kUnsupported);
        EXPECT_THAT(kept.error().message, ::testing::HasSubstr("migrate-broker"));
        return;
    }

    ASSERT_TRUE(subscriber->rewind(0, broker().kept(topic()).value().front().before));
    const auto past = collect(*subscriber, 6);
    EXPECT_EQ(ids(past), ids(events));
    acknowledge(*subscriber, past);
    const auto moved = subscriber->rewind(0, past[1].position);
    ASSERT_TRUE(moved) << moved.error().message;

    EXPECT_EQ(broker().lag(topic()).value().front().acknowledged, past[1].position);
    const auto again = collect(*subscriber, 4);
    EXPECT_EQ(ids(again), ids(std::span(events).subspan(2)));
    acknowledge(*subscriber, std::span(again).first(1));
    subscriber.reset();
    subscriber = join("billing", "a");
    if (broker().features().rewinds == Rewinds::kWhileHeld) {
        await_shares({subscriber.get()}, {1});
        ASSERT_TRUE(subscriber->rewind(0, again[0].position));
    }
    const auto rest = collect(*subscriber, 3);
    EXPECT_EQ(ids(rest), ids(std::span(events).subspan(3)));
    acknowledge(*subscriber, rest);
    EXPECT_THAT(collect_rest(*subscriber), IsEmpty());
    EXPECT_EQ(broker().lag(topic()).value().front().events, 0U);
}

TEST_P(BrokerReplays, GoesBackToWhatItKeepsAndKeepsThat) {
    given_topic(1);
    auto events = new_events(4);
    for (Event& event : events) {
        event.time += std::chrono::seconds(event.version.batch);
    }
    publish(0, events);
    const auto subscriber = join("billing", "a");
    acknowledge(*subscriber, collect(*subscriber, 4));
    if (broker().features().rewinds == Rewinds::kNever) {
        EXPECT_EQ(broker().kept(topic()).error().code, ErrorCode::kUnsupported);
        return;
    }

    const auto kept = broker().kept(topic()).value();
    ASSERT_THAT(kept, SizeIs(1));
    EXPECT_FALSE(kept[0].is_trimmed);
    EXPECT_EQ(kept[0].oldest, events[0].time);
    ASSERT_TRUE(subscriber->rewind(0, kept[0].before));
    EXPECT_EQ(broker().lag(topic()).value().front().events, 4U);
    backend().let_pass(2s);
    ASSERT_TRUE(broker().trim(backend().now()));

    EXPECT_EQ(ids(collect(*subscriber, 4)), ids(events)) << "trimmed though it is needed again";
}

TEST_P(BrokerReplays, RefusesToGoBackWhileEventsAreUnderWayOrForward) {
    given_topic(1);
    if (broker().features().rewinds == Rewinds::kNever) {
        GTEST_SKIP() << "keeps no past events";
    }
    publish(0, new_events(3));
    const auto subscriber = join("billing", "a");
    const auto deliveries = collect(*subscriber, 3);
    acknowledge(*subscriber, std::span(deliveries).first(1));
    EXPECT_EQ(subscriber->rewind(0, 0).error().code, ErrorCode::kInvalidArgument);
    acknowledge(*subscriber, deliveries);
    EXPECT_EQ(subscriber->rewind(0, deliveries[2].position + 1).error().code,
              ErrorCode::kInvalidArgument);
    EXPECT_EQ(subscriber->rewind(7, 0).error().code, ErrorCode::kFenced);
    EXPECT_THAT(subscriber->receive(10, kUnbounded).value(), IsEmpty());
}

TEST_P(BrokerReplays, OfAnUnknownTopicNothingIsKept) {
    if (broker().features().rewinds == Rewinds::kNever) {
        GTEST_SKIP() << "keeps no past events";
    }
    EXPECT_THAT(broker().kept(backend().own_name("unknown")).value(), IsEmpty());
}

}  // namespace instep::test
