#include "instep/consumer/consumer.hpp"

#include "instep/log/boundary.hpp"
#include "tests/support/failing_broker.hpp"
#include "tests/support/passing_broker.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::FailingBroker;
using test::rows_of;
using test::SyncSystem;
using test::value_of;
using testing::ElementsAre;
using testing::IsEmpty;

/// Writes the events it gets into table `effects`; fails for the keys that the test says.
class RecordingHandler final : public Handler {
public:
    Result<ApplyCounts> apply(Transaction& transaction,
                              std::span<const Event* const> events) override {
        ++calls;
        ApplyCounts counts;
        for (const Event* event : events) {
            if (target_down || down_after == 0) {
                return fail(ErrorCode::kUnavailable, "the target is down");
            }
            if (failing_once == event->id || failing_once == event->key) {
                // The batch, the lane and the event alone fail; whoever comes later goes through.
                if (failing_once == event->key) {
                    failing_once = event->id;
                }
                return fail(ErrorCode::kRejected, "event " + event->id + " is poison");
            }
            if (failing_keys.contains(event->key)) {
                return fail(ErrorCode::kRejected, "key " + event->key + " is poison");
            }
            INSTEP_TRY(
                transaction.execute("INSERT INTO effects (key, id) VALUES ($1, $2)",
                                    {std::string_view(event->key), std::string_view(event->id)}));
            ++counts.applied;
            down_after -= down_after > 0 ? 1 : 0;
        }
        return counts;
    }

    std::set<std::string> failing_keys;

    /// A key whose next event fails, alone, until the test clears this.
    std::string failing_once;
    bool target_down = false;
    int calls = 0;

    /// Events until the target goes down; negative: it stays.
    int down_after = -1;
};

/// What a test wants of a broker that the embedded one never does.
struct Whims {
    /// Partitions are assigned anew behind so many questions for them; 0: not at all.
    int assigned_anew_after = 0;

    /// So many looks behind a seek find nothing, as where a server has to be asked first.
    int empty_behind_seek = 0;
};

class WhimsicalSubscriber final : public test::PassingSubscriber {
public:
    WhimsicalSubscriber(std::unique_ptr<Subscriber> inner, Whims& whims)
        : PassingSubscriber(std::move(inner)), whims_(whims) {}

    Result<std::vector<Assignment>> assignments() override {
        if (whims_.assigned_anew_after > 0 && --whims_.assigned_anew_after == 0) {
            ++epochs_added_;
        }
        auto assignments = PassingSubscriber::assignments();
        for (std::size_t i = 0; assignments && i < assignments->size(); ++i) {
            (*assignments)[i].epoch += epochs_added_;
        }
        return assignments;
    }
    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override {
        return empty_looks_-- > 0 ? std::vector<Delivery>{}
                                  : PassingSubscriber::receive(events_max, bytes_max);
    }
    Result<void> seek(std::uint32_t partition, Position position) override {
        empty_looks_ = whims_.empty_behind_seek;
        return PassingSubscriber::seek(partition, position);
    }

private:
    Whims& whims_;
    std::uint64_t epochs_added_ = 0;
    int empty_looks_ = 0;
};

class WhimsicalBroker final : public test::PassingBroker {
public:
    using PassingBroker::PassingBroker;

    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override {
        INSTEP_TRY_ASSIGN(auto subscriber, PassingBroker::subscribe(std::move(options)));
        return std::make_unique<WhimsicalSubscriber>(std::move(subscriber), whims);
    }

    Whims whims;
};

class ConsumerTest : public testing::Test {
protected:
    ConsumerTest() {
        system.owner_sql("CREATE TABLE effects (number INTEGER PRIMARY KEY, key TEXT, id TEXT)");
        publisher = std::move(*system.broker->publisher());
        EXPECT_TRUE(publisher->declare_topic("shop.order", 1));
        consumer = make("one");
        EXPECT_TRUE(consumer->run_once());
    }

    std::unique_ptr<Consumer> make(std::string member, ApplyUnit unit = ApplyUnit::kKey) {
        ConsumerOptions options;
        options.unit = unit;
        options.transaction_events_max = 250;
        options.subscription = "test";
        options.topic = "shop.order";
        options.member = std::move(member);
        options.batch_events_max = 100;
        options.parked_backoff = {1s, 2.0, 60s, 0.0};
        auto made = Consumer::create(*system.owner_database, whimsical, handler, system.random,
                                     system.logger, options);
        EXPECT_TRUE(made);
        return std::move(*made);
    }

    /// One event for each key; ids are counted for each key: a1, a2, …
    void publish(std::initializer_list<const char*> keys) {
        std::vector<Event> events;
        for (const char* key : keys) {
            Event event;
            event.key = key;
            event.id = fmt::format("{}{}", key, ++counts[key]);
            event.source = "shop";
            event.type = "order.placed";
            event.version = {1, ++version, 0};
            event.data = "{}";
            events.push_back(event);
        }
        EXPECT_EQ(publisher->publish({"shop.order", 0, events, 1}).durable, events.size());
    }

    void publish_boundary() {
        const Event event = boundary_behind("shop", {}, {1, version, 0}, {});
        EXPECT_EQ(publisher->publish({"shop.order", 0, std::span(&event, 1), 1}).durable, 1U);
    }

    /// An event that speaks of a whole key range.
    void publish_barrier() {
        Event event;
        event.key = "scan";
        event.id = "scan";
        event.source = "shop";
        event.type = "order.copied";
        event.operation = Operation::kChunk;
        event.version = {1, ++version, 0};
        EXPECT_EQ(publisher->publish({"shop.order", 0, {&event, 1}, 1}).durable, 1U);
    }

    [[nodiscard]] std::vector<std::string> effects(std::string_view key = "") const {
        return rows_of(*system.owner,
                       fmt::format("SELECT id FROM effects {} ORDER BY number",
                                   key.empty() ? "" : fmt::format("WHERE key = '{}'", key)));
    }

    [[nodiscard]] std::uint64_t unacknowledged() const {
        return system.broker->lag("shop.order")->front().events;
    }

    SyncSystem system;
    FailingBroker broker{*system.broker};
    WhimsicalBroker whimsical{broker};
    RecordingHandler handler;
    std::unique_ptr<Publisher> publisher;
    std::unique_ptr<Consumer> consumer;
    std::map<std::string, int> counts;
    std::uint64_t version = 0;
};

TEST_F(ConsumerTest, AppliesInOrderAndAcknowledges) {
    publish({"a", "b", "a"});
    EXPECT_EQ(consumer->run_once().value_or(0), 3U);
    EXPECT_THAT(effects(), ElementsAre("a1", "b1", "a2"));
    EXPECT_EQ(unacknowledged(), 0U);
}

TEST_F(ConsumerTest, AFailingEventStopsItsOwnKeyOnly) {
    handler.failing_keys = {"b"};
    publish({"a", "b", "c", "b", "a"});
    EXPECT_EQ(consumer->run_once().value_or(0), 5U);
    EXPECT_THAT(effects("a"), ElementsAre("a1", "a2"));
    EXPECT_THAT(effects("b"), IsEmpty());
    EXPECT_THAT(effects("c"), ElementsAre("c1"));
    const auto parked = list_parked_keys(*system.owner, "test", 10);
    ASSERT_TRUE(parked);
    ASSERT_EQ(parked->size(), 1U);
    EXPECT_EQ(parked->front().key, "b");
    EXPECT_EQ(parked->front().events, 2U);
    EXPECT_EQ(parked->front().error_message, "key b is poison");
}

TEST_F(ConsumerTest, EventsBehindAParkedOneWaitWithoutBeingTried) {
    handler.failing_keys = {"b"};
    publish({"b"});
    EXPECT_TRUE(consumer->run_once());
    handler.failing_keys = {};
    publish({"b", "b"});
    EXPECT_TRUE(consumer->run_once());
    EXPECT_THAT(effects("b"), IsEmpty()) << "b2 overtook b1";
    system.clock.advance(2s);
    EXPECT_TRUE(consumer->run_once());
    EXPECT_THAT(effects("b"), ElementsAre("b1", "b2", "b3"));
    EXPECT_THAT(*list_parked_keys(*system.owner, "test", 10), IsEmpty());
}

TEST_F(ConsumerTest, TriesAParkedKeyAgainWithGrowingDelay) {
    handler.failing_keys = {"b"};
    publish({"b"});
    EXPECT_TRUE(consumer->run_once());
    const auto attempts = [&] { return list_parked_keys(*system.owner, "", 1)->front().attempts; };
    EXPECT_EQ(attempts(), 1U);
    EXPECT_TRUE(consumer->run_once());
    EXPECT_EQ(attempts(), 1U) << "not due yet";
    system.clock.advance(1s);
    EXPECT_TRUE(consumer->run_once());
    EXPECT_EQ(attempts(), 2U);
    system.clock.advance(1s);
    EXPECT_TRUE(consumer->run_once());
    EXPECT_EQ(attempts(), 2U) << "the second delay is two seconds";
    system.clock.advance(1s);
    EXPECT_TRUE(consumer->run_once());
    EXPECT_EQ(attempts(), 3U);
}

TEST_F(ConsumerTest, ParksNothingWhileTheTargetIsDown) {
    handler.target_down = true;
    publish({"a", "b", "c"});
    for (int i = 0; i < 3; ++i) {
        const auto failed = consumer->run_once();
        ASSERT_FALSE(failed);
        EXPECT_EQ(failed.error().code, ErrorCode::kUnavailable);
    }
    EXPECT_THAT(*list_parked_keys(*system.owner, "", 10), IsEmpty());
    EXPECT_EQ(unacknowledged(), 3U);
    handler.target_down = false;
    EXPECT_TRUE(consumer->run_once());
    EXPECT_THAT(effects(), ElementsAre("a1", "b1", "c1"));
}

TEST_F(ConsumerTest, ParkedKeysOutliveTheProcess) {
    handler.failing_keys = {"b"};
    publish({"b"});
    EXPECT_TRUE(consumer->run_once());
    consumer.reset();
    consumer = make("two");
    handler.failing_keys = {};
    publish({"b"});
    EXPECT_TRUE(consumer->run_once());
    EXPECT_THAT(effects("b"), IsEmpty()) << "b2 overtook b1, which waits";
    system.clock.advance(2s);
    EXPECT_TRUE(consumer->run_once());
    EXPECT_THAT(effects("b"), ElementsAre("b1", "b2"));
}

TEST_F(ConsumerTest, ALostProcessLeavesNothingHalfDone) {
    handler.target_down = true;
    publish({"a", "b"});
    EXPECT_FALSE(consumer->run_once());
    handler.target_down = false;
    // Neither lease nor membership is given up by a process that was killed.
    auto other = make("two");
    EXPECT_EQ(other->run_once().value_or(9), 0U);
    system.clock.advance(11s);
    while (other->run_once().value_or(0) == 0 && effects().empty()) {
        system.clock.advance(1s);
    }
    EXPECT_THAT(effects(), ElementsAre("a1", "b1"));
}

TEST_F(ConsumerTest, AMemberThatWasReplacedCommitsNothing) {
    handler.target_down = true;
    publish({"a"});
    EXPECT_FALSE(consumer->run_once());
    handler.target_down = false;
    auto other = make("two");
    system.clock.advance(11s);
    EXPECT_TRUE(other->run_once());
    EXPECT_TRUE(other->run_once());
    EXPECT_THAT(effects(), ElementsAre("a1"));
    (void)consumer->run_once();
    (void)consumer->run_once();
    EXPECT_THAT(effects(), ElementsAre("a1"));
}

TEST_F(ConsumerTest, WhatItDroppedComesAgainAlsoIfGoingBackFailedAtFirst) {
    publish({"a", "b"});
    // Somebody had the lease meanwhile, so nothing of what is received may take effect.
    system.owner_sql("UPDATE instep_lease SET epoch = epoch + 1");
    broker.fail_next(FailingBroker::Call::kSeek, false);
    EXPECT_EQ(consumer->run_once().error().code, ErrorCode::kUnavailable);
    publish({"c"});
    EXPECT_TRUE(consumer->run_once());
    EXPECT_TRUE(consumer->run_once());
    EXPECT_THAT(effects(), ElementsAre("a1", "b1", "c1"));
    EXPECT_EQ(unacknowledged(), 0U);
}

TEST_F(ConsumerTest, AKeyThatFailedBeforeABarrierWaitsBehindIt) {
    handler.failing_once = "b";
    publish({"b"});
    publish_barrier();
    publish({"b"});
    EXPECT_EQ(consumer->run_once().value_or(0), 3U);
    EXPECT_THAT(effects("b"), IsEmpty()) << "b2 overtook b1";
    handler.failing_once.clear();
    system.clock.advance(2s);
    EXPECT_TRUE(consumer->run_once());
    EXPECT_THAT(effects("b"), ElementsAre("b1", "b2"));
}

TEST_F(ConsumerTest, CountsWhatItDid) {
    publish({"a", "b"});
    EXPECT_TRUE(consumer->run_once());
    const auto progress = list_progress(*system.owner);
    ASSERT_TRUE(progress);
    const auto mine = std::ranges::find(*progress, "test", &SubscriptionProgress::subscription);
    ASSERT_NE(mine, progress->end());
    EXPECT_EQ(mine->counts.applied, 2U);
}

class WholeTransactionsTest : public ConsumerTest {
protected:
    WholeTransactionsTest() {
        consumer.reset();
        consumer = make("one", ApplyUnit::kTransaction);
    }

    /// More than is held.
    void publish_many() {
        for (int i = 0; i < 100; ++i) {
            publish({"a", "b", "c"});
        }
    }

    void run() {
        for (int i = 0; i < 10; ++i) {
            EXPECT_TRUE(consumer->run_once());
        }
    }

    std::string effect_count() { return value_of(*system.owner, "SELECT count(*) FROM effects"); }
};

TEST_F(WholeTransactionsTest, TakeEffectAtBoundariesOnly) {
    publish({"a", "b"});
    run();
    EXPECT_EQ(effect_count(), "0");
    publish({"c"});
    publish_boundary();
    publish({"d"});
    run();
    EXPECT_EQ(effect_count(), "3");
    EXPECT_EQ(system.broker->lag("shop.order")->front().events, 1U);
}

TEST_F(WholeTransactionsTest, OnesThatAreNotWholeYetHoldNoPartitionBack) {
    publish({"a"});
    run();
    auto other = make("another", ApplyUnit::kTransaction);
    EXPECT_TRUE(other->run_once());
    publish({"b"});
    publish_boundary();
    for (int i = 0; i < 40 && effect_count() != "2"; ++i) {
        system.clock.advance(1s);
        EXPECT_TRUE(consumer->run_once());
        EXPECT_TRUE(other->run_once());
    }
    EXPECT_THAT(effects(), ElementsAre("a1", "b1"));
}

TEST_F(WholeTransactionsTest, AnOlderBoundaryEndsNoNewerOne) {
    publish({"a"});
    const Event old = boundary_behind("shop", {}, {1, version, 0}, {});
    publish_boundary();
    publish({"b"});
    EXPECT_EQ(publisher->publish({"shop.order", 0, std::span(&old, 1), 1}).durable, 1U);
    run();
    EXPECT_EQ(effect_count(), "1");
    publish_boundary();
    run();
    EXPECT_EQ(effect_count(), "2");
}

TEST_F(WholeTransactionsTest, StopAtOneThatIsRefusedAndParkNothing) {
    publish({"a", "b"});
    publish_boundary();
    handler.failing_keys = {"b"};
    EXPECT_EQ(consumer->run_once().error().code, ErrorCode::kRejected);
    publish({"c"});
    publish_boundary();
    EXPECT_FALSE(consumer->run_once());
    EXPECT_EQ(effect_count(), "0");
    EXPECT_THAT(*list_parked_keys(*system.owner, "", 10), IsEmpty());
    handler.failing_keys.clear();
    run();
    EXPECT_EQ(effect_count(), "3");
}

TEST_F(WholeTransactionsTest, GoOnWhereOnlyAChunkIsRefused) {
    publish({"a"});
    publish_barrier();
    publish_boundary();
    handler.failing_keys = {"scan"};
    run();
    EXPECT_EQ(effect_count(), "1");
    EXPECT_EQ(list_parked_keys(*system.owner, "", 10)->front().key, "scan");
    handler.failing_keys.clear();
    system.clock.advance(1s);
    run();
    EXPECT_EQ(effect_count(), "2");
}

TEST_F(WholeTransactionsTest, AreWholeAlsoWhenTheyAreTooLargeToHold) {
    publish({"z"});
    publish_boundary();
    publish_many();
    run();
    EXPECT_EQ(effect_count(), "1");
    publish_boundary();
    publish({"y"});
    publish_boundary();
    // The target goes away in the middle of the parts.
    handler.down_after = 150;
    EXPECT_FALSE(consumer->run_once());
    EXPECT_FALSE(consumer->run_once());
    EXPECT_EQ(effect_count(), "1");
    handler.down_after = -1;
    run();
    EXPECT_EQ(effect_count(), "302");
    EXPECT_EQ(value_of(*system.owner, "SELECT count(DISTINCT id) FROM effects"), "302");
    EXPECT_EQ(system.broker->lag("shop.order")->front().events, 0U);
}

TEST_F(WholeTransactionsTest, LargeOnesAreReadAgainAlsoFromABrokerThatHasToBeAsked) {
    whimsical.whims.empty_behind_seek = 2;
    publish_many();
    publish_boundary();
    run();
    EXPECT_EQ(effect_count(), "300");
    EXPECT_EQ(system.broker->lag("shop.order")->front().events, 0U);
}

TEST_F(WholeTransactionsTest, LargeOnesAreReadAgainWhereThePartitionIsAssignedAnew) {
    publish_many();
    publish_boundary();
    // Four steps until the boundary is seen; then once more for each part.
    whimsical.whims.assigned_anew_after = 6;
    std::vector<ErrorCode> errors;
    for (int i = 0; i < 12; ++i) {
        if (const auto done = consumer->run_once(); !done) {
            errors.push_back(done.error().code);
            EXPECT_EQ(effect_count(), "0");
        }
    }
    EXPECT_THAT(errors, ElementsAre(ErrorCode::kFenced));
    EXPECT_EQ(effect_count(), "300");
}

TEST_F(WholeTransactionsTest, LargeOnesTakeEffectOnceAlsoWhereTheBrokerDoesNotAnswer) {
    publish_many();
    publish_boundary();
    broker.fail_next(FailingBroker::Call::kAcknowledge, true);
    for (int i = 0; i < 10; ++i) {
        (void)consumer->run_once();
    }
    EXPECT_EQ(effect_count(), "300");
    EXPECT_EQ(system.broker->lag("shop.order")->front().events, 0U);
}

}  // namespace
}  // namespace instep
