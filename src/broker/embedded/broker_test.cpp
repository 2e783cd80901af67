// What is particular to the embedded broker; what every broker does is in
// tests/conformance/broker_conformance.cpp.
#include "instep/broker/embedded/broker.hpp"

#include "instep/db/sqlite/database.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace instep {

namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class EmbeddedBroker : public ::testing::Test {
protected:
    void given_topic(std::uint32_t partitions) {
        ASSERT_TRUE(publisher_->declare_topic("orders", partitions));
    }

    std::unique_ptr<Subscriber> join(const std::string& member, std::chrono::seconds timeout = 9s) {
        return broker_
            ->subscribe({.subscription = "billing",
                         .topic = "orders",
                         .member = member,
                         .member_timeout = timeout})
            .value();
    }

    PublishOutcome publish(std::uint32_t partition, std::size_t count, std::string source = "shop",
                           std::uint64_t fencing_epoch = 0) {
        std::vector<Event> events(count);
        for (Event& event : events) {
            event.id = std::to_string(++published_);
            event.source = source;
            event.type = "order.placed";
            event.key = "order-1";
        }
        return publisher_->publish({.topic = "orders",
                                    .partition = partition,
                                    .events = events,
                                    .fencing_epoch = fencing_epoch});
    }

    static std::size_t receive_all(Subscriber& subscriber) {
        EXPECT_TRUE(subscriber.assignments());
        return subscriber.receive(1'000'000, 1 << 30).value().size();
    }

    static std::size_t partitions_of(Subscriber& subscriber) {
        return subscriber.assignments().value().size();
    }

    test::TempDir dir_;
    test::ManualClock clock_;
    std::unique_ptr<Database> database_ = open_sqlite(dir_.file("broker.db"), clock_).value();
    std::unique_ptr<Broker> broker_ =
        open_embedded_broker(*database_, clock_, {.idle_poll_max = 10s}).value();
    std::unique_ptr<Publisher> publisher_ = broker_->publisher().value();
    std::size_t published_ = 0;
};

TEST_F(EmbeddedBroker, ShowsTheFileInItsUrl) {
    EXPECT_EQ(broker_->display_url(), "embedded:" + dir_.file("broker.db"));
}

TEST_F(EmbeddedBroker, RefusesAPollIntervalOutOfBounds) {
    const auto opened = open_embedded_broker(*database_, clock_, {.idle_poll_max = 11s});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(EmbeddedBroker, RefusesAMemberTimeoutOutOfBounds) {
    const auto subscriber = broker_->subscribe(
        {.subscription = "billing", .topic = "orders", .member = "a", .member_timeout = 999ms});
    ASSERT_FALSE(subscriber);
    EXPECT_EQ(subscriber.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(EmbeddedBroker, RefusesMorePartitionsThanItsLimit) {
    const auto declared = publisher_->declare_topic("orders", kEmbeddedPartitionsMax + 1);
    ASSERT_FALSE(declared);
    EXPECT_EQ(declared.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(EmbeddedBroker, RefusesASubscriptionThatReadsAnotherTopic) {
    join("a");
    const auto other =
        broker_->subscribe({.subscription = "billing", .topic = "users", .member = "b"});
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, ErrorCode::kConflict);
    EXPECT_THAT(other.error().message, HasSubstr("orders"));
}

TEST_F(EmbeddedBroker, PublishesNothingToATopicThatWasNotDeclared) {
    const auto outcome = publish(0, 1);
    EXPECT_EQ(outcome.durable, 0U);
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kNotFound);
    EXPECT_THAT(outcome.failure->message, HasSubstr("partition 0 of topic orders"));
}

TEST_F(EmbeddedBroker, FencesThePublishersOfOneSourceOnly) {
    given_topic(1);
    EXPECT_EQ(publish(0, 1, "shop", 9).durable, 1U);
    EXPECT_EQ(publish(0, 1, "iam", 2).durable, 1U);
    EXPECT_EQ(publish(0, 1, "shop", 8).durable, 0U);
}

TEST_F(EmbeddedBroker, GivesTheLeftoverPartitionsToMembersInTheOrderOfTheirNames) {
    given_topic(4);
    const auto a = join("a");
    const auto b = join("b");
    const auto c = join("c");
    for (int round = 0; round < 3; ++round) {
        partitions_of(*a);
        partitions_of(*b);
        partitions_of(*c);
    }
    EXPECT_THAT((std::vector{partitions_of(*a), partitions_of(*b), partitions_of(*c)}),
                ElementsAre(2, 1, 1));
}

TEST_F(EmbeddedBroker, StopsDeliveringAPartitionThatItIsToGiveUp) {
    given_topic(2);
    const auto a = join("a");
    partitions_of(*a);
    publish(0, 1);
    publish(1, 1);
    EXPECT_EQ(receive_all(*a), 2U);
    const auto b = join("b");
    partitions_of(*b);
    EXPECT_EQ(partitions_of(*a), 2U);

    publish(0, 5);
    publish(1, 5);
    const auto more = a->receive(100, 1 << 20).value();

    ASSERT_THAT(more, SizeIs(5));
    EXPECT_EQ(more.front().partition, 0U);
    EXPECT_TRUE(a->acknowledge(1, 1));
    EXPECT_EQ(partitions_of(*a), 1U);
    EXPECT_EQ(receive_all(*b), 5U);
}

TEST_F(EmbeddedBroker, WritesNothingWhileNothingIsDue) {
    given_topic(2);
    const auto a = join("a");
    partitions_of(*a);
    const auto observer = database_->connect().value();
    const auto before = observer->change_token().value();

    clock_.advance(2900ms);
    EXPECT_EQ(partitions_of(*a), 2U);
    EXPECT_EQ(observer->change_token().value(), before);

    clock_.advance(100ms);
    EXPECT_EQ(partitions_of(*a), 2U);
    EXPECT_NE(observer->change_token().value(), before);
}

TEST_F(EmbeddedBroker, KeepsWhatARenewingMemberHolds) {
    given_topic(1);
    const auto a = join("a");
    const auto b = join("b");
    for (int round = 0; round < 10; ++round) {
        clock_.advance(8s);
        EXPECT_EQ(partitions_of(*a), 1U);
        EXPECT_EQ(partitions_of(*b), 0U);
    }
}

TEST_F(EmbeddedBroker, DeliversNothingToAMemberWhoseTimeRanOutUntilItRenews) {
    given_topic(1);
    const auto a = join("a");
    partitions_of(*a);
    publish(0, 3);

    clock_.advance(9s);

    EXPECT_THAT(a->receive(100, 1 << 20).value(), IsEmpty());
    EXPECT_EQ(receive_all(*a), 3U);
}

TEST_F(EmbeddedBroker, LetsAMemberOfTheSameNameTakeItsPlaceAtOnce) {
    given_topic(2);
    const auto before = join("a");
    publish(0, 3);
    EXPECT_EQ(receive_all(*before), 3U);

    const auto after = join("a");

    EXPECT_EQ(receive_all(*after), 3U);
    const auto fenced = before->acknowledge(0, 3);
    ASSERT_FALSE(fenced);
    EXPECT_EQ(fenced.error().code, ErrorCode::kFenced);
    EXPECT_TRUE(after->acknowledge(0, 3));
}

TEST_F(EmbeddedBroker, LeavesItsPlaceToAMemberOfTheSameName) {
    given_topic(2);
    auto before = join("a");
    partitions_of(*before);
    const auto after = join("a");
    partitions_of(*after);

    before.reset();

    const auto other = join("b");
    EXPECT_EQ(partitions_of(*other), 0U);
}

TEST_F(EmbeddedBroker, RefusesToAcknowledgeOrSeekWhatItDidNotDeliver) {
    given_topic(1);
    const auto a = join("a");
    publish(0, 3);
    EXPECT_EQ(receive_all(*a), 3U);

    EXPECT_EQ(a->acknowledge(0, 4).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(a->seek(0, 4).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(EmbeddedBroker, AnAcknowledgementWaitsForNobodyUntilItIsLate) {
    given_topic(1);
    const auto subscriber = join("a");
    publish(0, 3);
    ASSERT_EQ(receive_all(*subscriber), 3U);
    const auto acknowledged = [&] { return broker_->lag("orders").value().at(0).acknowledged; };
    const auto locker = database_->connect().value();
    auto lock = std::optional(Transaction::begin(*locker, TransactionMode::kWrite).value());

    EXPECT_TRUE(subscriber->acknowledge(0, 1));
    EXPECT_EQ(acknowledged(), 0U);
    clock_.advance(2s);
    EXPECT_EQ(subscriber->acknowledge(0, 2).error().code, ErrorCode::kBusy);
    lock.reset();
    EXPECT_TRUE(subscriber->acknowledge(0, 3));
    EXPECT_EQ(acknowledged(), 3U);
}

TEST_F(EmbeddedBroker, StoresAnAcknowledgementOnceThereIsNothingToReceive) {
    given_topic(1);
    auto subscriber = join("a");
    publish(0, 2);
    ASSERT_EQ(receive_all(*subscriber), 2U);
    const auto acknowledged = [&] { return broker_->lag("orders").value().at(0).acknowledged; };
    const auto locker = database_->connect().value();
    auto lock = std::optional(Transaction::begin(*locker, TransactionMode::kWrite).value());
    EXPECT_TRUE(subscriber->acknowledge(0, 1));
    lock.reset();
    EXPECT_EQ(acknowledged(), 0U);
    subscriber->wait({}, 1ms);
    EXPECT_EQ(acknowledged(), 1U);

    lock.emplace(Transaction::begin(*locker, TransactionMode::kWrite).value());
    EXPECT_TRUE(subscriber->acknowledge(0, 2));
    lock.reset();
    subscriber.reset();
    EXPECT_EQ(acknowledged(), 2U);
}

TEST_F(EmbeddedBroker, StoresAnAcknowledgementAlsoForAMemberThatReceivesNothingMore) {
    given_topic(1);
    const auto subscriber = join("a");
    publish(0, 1);
    ASSERT_EQ(receive_all(*subscriber), 1U);
    {
        const auto locker = database_->connect().value();
        const auto lock = Transaction::begin(*locker, TransactionMode::kWrite).value();
        EXPECT_TRUE(subscriber->acknowledge(0, 1));
        EXPECT_TRUE(subscriber->assignments());
    }
    EXPECT_EQ(broker_->lag("orders").value().at(0).acknowledged, 0U);
    EXPECT_TRUE(subscriber->assignments());
    EXPECT_EQ(broker_->lag("orders").value().at(0).acknowledged, 1U);
}

TEST_F(EmbeddedBroker, TurnsBetweenPartitionsWithABacklog) {
    given_topic(2);
    const auto a = join("a");
    partitions_of(*a);
    publish(0, 10);
    publish(1, 10);

    const auto first = a->receive(1, 1 << 20).value();
    const auto second = a->receive(1, 1 << 20).value();

    EXPECT_NE(first.front().partition, second.front().partition);
}

TEST_F(EmbeddedBroker, WakesAWaitingMemberOfTheSameBroker) {
    given_topic(1);
    const auto a = join("a", 300s);
    partitions_of(*a);
    std::jthread publishes([&] { publish(0, 1); });

    while (a->receive(1, 1).value().empty()) {
        a->wait({}, 1h);
    }
}

TEST_F(EmbeddedBroker, TrimsWhatEverySubscriptionHasAcknowledged) {
    given_topic(1);
    const auto a = join("a");
    publish(0, 5);
    EXPECT_EQ(receive_all(*a), 5U);
    EXPECT_TRUE(a->acknowledge(0, 3));
    clock_.advance(1s);

    EXPECT_EQ(broker_->trim(clock_.now()).value(), 3U);
    EXPECT_EQ(broker_->trim(clock_.now()).value(), 0U);
}

TEST_F(EmbeddedBroker, TrimsByTimeAloneWithoutSubscriptions) {
    given_topic(2);
    publish(0, 4);
    publish(1, 2);
    clock_.advance(1min);
    const Timestamp between = clock_.now();
    publish(0, 3);

    EXPECT_EQ(broker_->trim(between).value(), 6U);
    const auto a = join("a");
    EXPECT_EQ(receive_all(*a), 3U);
}

TEST_F(EmbeddedBroker, GoesBackNoFurtherThanToWhatIsKept) {
    given_topic(1);
    const auto a = join("a");
    publish(0, 5);
    EXPECT_EQ(receive_all(*a), 5U);
    EXPECT_TRUE(a->acknowledge(0, 3));
    clock_.advance(1s);
    EXPECT_EQ(broker_->trim(clock_.now()).value(), 3U);
    EXPECT_TRUE(a->acknowledge(0, 5));

    const auto kept = broker_->kept("orders").value();
    ASSERT_THAT(kept, SizeIs(1));
    EXPECT_EQ(kept[0].before, 3U);
    EXPECT_TRUE(kept[0].is_trimmed);
    EXPECT_EQ(a->rewind(0, 2).error().code, ErrorCode::kNotFound);
    EXPECT_TRUE(a->rewind(0, 3));
    EXPECT_EQ(receive_all(*a), 2U);
}

TEST_F(EmbeddedBroker, TrimsInSteps) {
    given_topic(1);
    publish(0, 25'000);
    clock_.advance(1s);

    EXPECT_EQ(broker_->trim(clock_.now()).value(), 25'000U);
}

TEST_F(EmbeddedBroker, CountsOnlyWhatIsThereForASubscriptionMadeAfterATrim) {
    given_topic(1);
    publish(0, 4);
    clock_.advance(1s);
    broker_->trim(clock_.now()).value();
    publish(0, 2);

    const auto a = join("a");

    const auto lags = broker_->lag("").value();
    ASSERT_THAT(lags, SizeIs(1));
    EXPECT_EQ(lags[0].events, 2U);
}

TEST_F(EmbeddedBroker, ReadsABacklogByTheRowId) {
    given_topic(1);
    const auto connection = database_->connect().value();
    const auto plan = connection
                          ->query(
                              "EXPLAIN QUERY PLAN SELECT data FROM instep_message "
                              "WHERE position > $1 AND position < $2 ORDER BY position",
                              std::vector<ValueView>{std::int64_t{1}, std::int64_t{2}})
                          .value();
    ASSERT_TRUE(plan->next().value());
    EXPECT_THAT(std::string(plan->text(3)), HasSubstr("USING INTEGER PRIMARY KEY"));
    EXPECT_FALSE(plan->next().value());
}

}  // namespace

}  // namespace instep
