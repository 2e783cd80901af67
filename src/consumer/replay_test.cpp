#include "instep/consumer/replay.hpp"

#include "tests/support/failing_broker.hpp"
#include "tests/support/replay_fixture.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::FailingBroker;
using test::Home;
using test::ReplayFixture;
using test::rows_of;
using test::run_sql;
using test::value_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Over the embedded broker. An event of a replay takes effect with a mark.
class ReplayTest : public ReplayFixture {
protected:
    ReplayTest() {
        publisher = std::move(*system.broker->publisher());
        EXPECT_TRUE(publisher->declare_topic("shop.order", 1));
        open("one");
    }

    ~ReplayTest() override { end_consumers(); }

    using ReplayFixture::open;
    void open(const std::string& member) override {
        HandlerSet handlers;
        handlers.on("order.placed", [this](HandlerContext& context) {
            const Event& event = context.event();
            if (event.id == failing) {
                return Verdict::retry("it fails");
            }
            const std::string text = (context.is_replay() ? "again " : "") + event.id;
            EXPECT_TRUE(context.transaction().execute("INSERT INTO effects (id) VALUES ($1)",
                                                      {std::string_view(text)}));
            return Verdict::done();
        });
        open(broker, std::move(handlers), member);
    }

    void settle() { ReplayFixture::settle(3); }

    /// One event for each key; ids are counted for each key: a1, a2, …
    void publish(std::initializer_list<const char*> keys, const std::string& mark = "") {
        std::vector<Event> events;
        for (const char* key : keys) {
            Event& event = events.emplace_back();
            event.key = key;
            event.id = fmt::format("{}{}", key, ++counts[key]);
            event.source = "shop";
            event.type = "order.placed";
            event.time = system.clock.now();
            event.version = {1, ++version, 0};
            event.data = "{}";
            if (!mark.empty()) {
                event.extensions.emplace_back("instepreplay", mark);
            }
        }
        EXPECT_EQ(publisher->publish({"shop.order", 0, events, 1}).durable, events.size());
    }

    std::uint64_t waiting() { return system.broker->lag("shop.order")->front().events; }

    FailingBroker broker{*system.broker};
    std::unique_ptr<Publisher> publisher;
    std::map<std::string, std::size_t> counts;
    std::uint64_t version = 0;

    /// The id of an event that the handler refuses.
    std::string failing;
};

TEST_P(ReplayTest, HandlesAllOfThePastOnceMoreInOrder) {
    publish({"a", "b", "a", "b"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "b1", "a2", "b2"));
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    publish({"a"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("again a1", "again b1", "again a2", "again b2", "a3"));
    EXPECT_EQ(replay().state, "done");
    EXPECT_EQ(waiting(), 0U);
    settle();
    EXPECT_THAT(effects(), IsEmpty());
}

TEST_P(ReplayTest, ASecondReplayHandlesEverythingOnceMore) {
    publish({"a"});
    settle();
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(ask(ReplayStart::beginning()));
        settle();
    }
    EXPECT_THAT(effects(), ElementsAre("a1", "again a1", "again a1"));
}

TEST_P(ReplayTest, BeginsBehindAPositionOrAtATime) {
    publish({"a", "b"});
    system.clock.advance(1h);
    const Timestamp later = system.clock.now();
    publish({"c", "d"});
    settle();
    effects();
    ASSERT_TRUE(ask(ReplayStart::behind(3)));
    settle();
    EXPECT_THAT(effects(), ElementsAre("again d1"));
    ASSERT_TRUE(ask(ReplayStart::since(later)));
    settle();
    EXPECT_THAT(effects(), ElementsAre("again c1", "again d1"));
}

TEST_P(ReplayTest, ReplaysOneKeyAndNoOther) {
    publish({"a", "b", "a", "b", "a"});
    settle();
    effects();
    // What was handled long ago must not take effect again because it was forgotten.
    ASSERT_TRUE(system.owner->execute("DELETE FROM instep_inbox", {}));
    ASSERT_TRUE(ask(ReplayStart::beginning(), "b"));
    settle();
    EXPECT_THAT(effects(), ElementsAre("again b1", "again b2"));
}

TEST_P(ReplayTest, GoesOnWhereItWasAfterACrash) {
    publish({"a", "b", "c", "d", "e", "f"});
    settle();
    effects();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    ASSERT_TRUE(consumer->run_once());
    EXPECT_THAT(effects(), ElementsAre("again a1", "again b1", "again c1"));
    crash_and_reopen();
    publish({"a"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("again d1", "again e1", "again f1", "a2"));
    EXPECT_EQ(replay().state, "done");
}

TEST_P(ReplayTest, LosesAndRepeatsNothingWhereverItDies) {
    using enum FailingBroker::Call;
    for (const auto call : {kRewind, kAcknowledge}) {
        for (const bool does_it : {false, true}) {
            SCOPED_TRACE(fmt::format("call {}, {}", static_cast<int>(call), does_it));
            publish({"a", "b", "c", "d"});
            settle();
            effects();
            ASSERT_TRUE(ask(ReplayStart::beginning()));
            broker.fail_next(call, does_it);
            EXPECT_FALSE(consumer->run_once());
            crash_and_reopen();
            settle();
            std::vector<std::string> again;
            for (std::size_t i = 1; i <= counts["a"]; ++i) {
                for (const char* key : {"a", "b", "c", "d"}) {
                    again.push_back(fmt::format("again {}{}", key, i));
                }
            }
            EXPECT_EQ(effects(), again);
            EXPECT_EQ(replay().state, "done");
        }
    }
}

TEST_P(ReplayTest, TriesAgainWhenTheBrokerIsBack) {
    publish({"a"});
    settle();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    broker.fail_next(FailingBroker::Call::kRewind, false);
    EXPECT_FALSE(consumer->run_once());
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "again a1"));
}

TEST_P(ReplayTest, IsOverOnceTheBrokerHasStoredItsEnd) {
    publish({"a", "b", "c"});
    settle();
    effects();
    ASSERT_TRUE(ask(ReplayStart::beginning(), "b"));
    broker.stored_max = 2;
    settle();
    EXPECT_EQ(replay().state, "running") << "what comes again is still to be passed over";
    EXPECT_THAT(effects(), ElementsAre("again b1"));
    broker.stored_max = 3;
    settle();
    EXPECT_EQ(replay().state, "done");
}

TEST_P(ReplayTest, GoesBackAgainWhereTheBrokerForgotThatItDid) {
    publish({"a", "b", "c", "d"});
    settle();
    effects();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    ASSERT_TRUE(consumer->run_once());
    EXPECT_THAT(effects(), ElementsAre("again a1", "again b1", "again c1"));
    consumer.reset();
    // As after a loss of power, which may undo what was not forced to the disk.
    const auto power = system.broker_database->connect().value();
    ASSERT_TRUE(power->execute("UPDATE instep_subscription_slot SET acknowledged = 4", {}));
    open("two");
    settle();
    EXPECT_THAT(effects(), ElementsAre("again d1"));
}

TEST_P(ReplayTest, PassesOverWhatTheBrokerBringsFromBeforeItsBeginning) {
    publish({"a", "b", "c", "d", "e", "f"});
    settle();
    effects();
    ASSERT_TRUE(ask(ReplayStart::behind(2)));
    ASSERT_TRUE(consumer->run_once());
    EXPECT_THAT(effects(), ElementsAre("again c1", "again d1", "again e1"));
    consumer.reset();
    // As after a loss of power, with what was acknowledged not yet on the disk.
    const auto power = system.broker_database->connect().value();
    ASSERT_TRUE(power->execute("UPDATE instep_subscription_slot SET acknowledged = 0", {}));
    open("two");
    settle();
    EXPECT_THAT(effects(), ElementsAre("again f1"));
}

TEST_P(ReplayTest, AKeyThatFailsWaitsWithWhatIsBehindItAndOthersGoOn) {
    publish({"a", "b", "a"});
    settle();
    effects();
    failing = "a1";
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    publish({"a"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("again b1"));
    failing.clear();
    let_pass(1min);
    settle();
    EXPECT_THAT(effects(), ElementsAre("again a1", "again a2", "a3"));
}

TEST_P(ReplayTest, RefusesWhereAKeyIsParkedThatItWouldOvertake) {
    failing = "a1";
    publish({"a", "b"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("b1"));
    const auto refused = ask(ReplayStart::beginning());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().message, HasSubstr("key a"));
    ASSERT_TRUE(ask(ReplayStart::beginning(), "b"));
    settle();
    EXPECT_THAT(effects(), ElementsAre("again b1"));
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_parked_event"), "1")
        << "the replay of b parked something of a";
    failing.clear();
    let_pass(1min);
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1"));
}

TEST_P(ReplayTest, RefusesAKeyThatWasParkedAfterItWasAskedFor) {
    publish({"a"});
    settle();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    ASSERT_TRUE(system.owner->execute(
        "INSERT INTO instep_parked_event (subscription, key, partition, position, envelope, "
        "parked_us) VALUES ('test', 'z', 0, 1, '{}', 0)",
        {}));
    settle();
    EXPECT_EQ(replay().state, "refused");
    EXPECT_THAT(replay().problem, HasSubstr("key z"));
    EXPECT_THAT(effects(), ElementsAre("a1"));
}

TEST_P(ReplayTest, OneAtATime) {
    publish({"a"});
    settle();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    EXPECT_EQ(ask(ReplayStart::beginning()).error().code, ErrorCode::kConflict);
    settle();
    EXPECT_TRUE(ask(ReplayStart::beginning()));
}

TEST_P(ReplayTest, RefusesWhatIsNoLongerKept) {
    publish({"a", "b"});
    system.clock.advance(1h);
    const Timestamp between = system.clock.now();
    system.clock.advance(1h);
    publish({"c"});
    settle();
    effects();
    ASSERT_EQ(system.broker->trim(between).value(), 2U);
    ASSERT_TRUE(ask(ReplayStart::behind(1)));
    settle();
    EXPECT_EQ(replay().state, "refused");
    EXPECT_THAT(replay().problem, HasSubstr("no longer kept"));
    ASSERT_TRUE(ask(ReplayStart::since(between)));
    settle();
    EXPECT_EQ(replay().state, "refused");
    EXPECT_THAT(replay().problem, HasSubstr("older ones have been deleted"));
    EXPECT_THAT(effects(), IsEmpty());
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    settle();
    EXPECT_THAT(effects(), ElementsAre("again c1"));
}

TEST_P(ReplayTest, WhatIsToBeReplayedIsKept) {
    publish({"a", "b", "c", "d"});
    settle();
    effects();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    ASSERT_TRUE(consumer->run_once());
    system.clock.advance(24h);
    ASSERT_TRUE(system.broker->trim(system.clock.now()));
    settle();
    EXPECT_THAT(effects(), ElementsAre("again a1", "again b1", "again c1", "again d1"));
}

TEST_P(ReplayTest, NobodyElseCanMarkAnEventAsReplayed) {
    publish({"a"}, "7");
    publish({"b"}, "0");
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "b1"));
}

TEST_P(ReplayTest, EndsAtOnceWhereThereIsNoPast) {
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    publish({"a"});
    settle();
    EXPECT_EQ(replay().state, "done");
    EXPECT_THAT(effects(), ElementsAre("a1"));
}

TEST_P(ReplayTest, IsForgottenOnceItIsOverAndOld) {
    publish({"a"});
    settle();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    settle();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    const auto trimmed = [&](std::chrono::seconds age) {
        auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite).value();
        const Timestamp before = system.owner->now().value() - age;
        const std::uint64_t count = trim_replays(transaction, before, 10).value();
        EXPECT_TRUE(transaction.commit());
        return count;
    };
    EXPECT_EQ(trimmed(1h), 0U) << "it is younger";
    EXPECT_EQ(trimmed(-1h), 1U) << "the second one is not over";
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "again a1", "again a1"));
    EXPECT_EQ(trimmed(-1h), 1U);
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    settle();
    EXPECT_THAT(effects(), ElementsAre("again a1")) << "a number was given twice";
}

TEST_P(ReplayTest, TakesRequestsThatMakeSenseOnly) {
    ReplayRequest request;
    request.subscription = "test";
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite);
    EXPECT_EQ(ask_for_replay(*transaction, request).error().code, ErrorCode::kInvalidArgument);
    request.partitions = {0, 1};
    request.start = ReplayStart::behind(1);
    EXPECT_EQ(ask_for_replay(*transaction, request).error().code, ErrorCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(On, ReplayTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         [](const auto& test) {
                             return test.param == Home::kSqlite ? "sqlite" : "postgres";
                         });

}  // namespace
}  // namespace instep
