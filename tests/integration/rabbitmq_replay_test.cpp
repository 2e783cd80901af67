// A subscription on RabbitMQ goes back in the topic's past, and from there on to its queue.
#include "instep/broker/rabbitmq/broker.hpp"
#include "tests/support/amqp_client.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/failing_broker.hpp"
#include "tests/support/rabbitmq_vhost.hpp"
#include "tests/support/replay_fixture.hpp"
#include "tests/support/tcp_proxy.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <map>
#include <tuple>

namespace instep::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;

/// What one process has of the server.
struct RabbitmqProcess {
    explicit RabbitmqProcess(std::unique_ptr<Broker> opened)
        : broker(std::move(opened)), failing(*broker) {}

    std::unique_ptr<Broker> broker;
    FailingBroker failing;
};

/// An event of a replay takes effect with a mark.
class RabbitmqReplayTest : public ReplayFixture {
protected:
    RabbitmqReplayTest() {
        owner_broker = connect(vhost.server().port(), "?history=1h");
        publisher = owner_broker->publisher().value();
        EXPECT_TRUE(publisher->declare_topic("shop.order", 1));
        open("one");
    }

    ~RabbitmqReplayTest() override { end_consumers(); }

    std::unique_ptr<Broker> connect(int port, const std::string& url_options) {
        return open_rabbitmq_broker(
                   fmt::format("amqp://127.0.0.1:{}/{}{}", port, vhost.name(), url_options), clock,
                   random)
            .value();
    }

    using ReplayFixture::open;
    void open(const std::string& member) override {
        if (!crashed.empty()) {
            // The server sees the end of a process by its connections.
            proxy.cut();
        }
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
        processes.push_back(std::make_unique<RabbitmqProcess>(connect(proxy.port(), options)));
        open(broker(), std::move(handlers), member);
    }

    FailingBroker& broker() { return processes.back()->failing; }

    /// Until nothing waits at the broker and no replay is open.
    void settle() {
        EXPECT_TRUE(eventually([&] {
            const auto done = consumer->run_once();
            EXPECT_TRUE(done) << done.error().message;
            return !done || (*done == 0 && is_quiet());
        })) << value_of(*system.owner, "SELECT count(*) FROM effects");
    }

    bool is_quiet() {
        consumer->wait({}, 20ms);
        const auto replays = list_replays(*system.owner, "test", 1).value();
        if (!replays.empty() && (replays[0].state == "asked" || replays[0].state == "running")) {
            return false;
        }
        const auto lags = owner_broker->lag("shop.order").value();
        return !lags.empty() && lags.front().acknowledged > 0 && lags.front().events == 0;
    }

    /// Until something has taken effect that was not there before; returns that.
    std::vector<std::string> next_effects() {
        std::vector<std::string> some;
        EXPECT_TRUE(eventually([&] {
            const auto done = consumer->run_once();
            EXPECT_TRUE(done) << done.error().message;
            some = effects();
            if (some.empty()) {
                consumer->wait({}, 20ms);
            }
            return !some.empty();
        }));
        return some;
    }

    /// One event for each key; ids are counted for each key: a1, a2, …
    void publish(std::initializer_list<const char*> keys) {
        std::vector<Event> events;
        for (const char* key : keys) {
            events.push_back(event_of(key, ++counts[key]));
        }
        publish_events(events);
    }

    Event event_of(const std::string& key, std::size_t count) {
        Event event;
        event.key = key;
        event.id = fmt::format("{}{}", key, count);
        event.source = "shop";
        event.type = "order.placed";
        event.time = system.clock.now();
        event.version = {1, ++version, 0};
        event.data = "{}";
        return event;
    }

    void publish_events(const std::vector<Event>& events) {
        const auto outcome = publisher->publish({"shop.order", 0, events, 1});
        EXPECT_EQ(outcome.durable, events.size());
        EXPECT_FALSE(outcome.failure) << outcome.failure->message;
    }

    /// What `publish_before` publishes is in no stream.
    template <class Publish>
    void given_a_past_that_begins_now(const Publish& publish_before) {
        AmqpClient(vhost.server().port(), vhost.name()).delete_queue("shop.order.p0.past");
        publish_before();
        EXPECT_TRUE(publisher->declare_topic("shop.order", 1));
    }

    SystemClock clock;
    SystemRandom random;
    RabbitmqVhost vhost;
    TcpProxy proxy{vhost.server().port()};
    std::unique_ptr<Broker> owner_broker;
    std::unique_ptr<Publisher> publisher;
    std::vector<std::unique_ptr<RabbitmqProcess>> processes;
    std::map<std::string, std::size_t> counts;
    std::uint64_t version = 0;

    /// Of the consumer's URL.
    std::string options;

    /// The id of an event that the handler refuses.
    std::string failing;
};

TEST_P(RabbitmqReplayTest, HandlesAllOfThePastOnceMoreInOrder) {
    publish({"a", "b", "a", "b"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "b1", "a2", "b2"));
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(ask(ReplayStart::beginning()));
        settle();
        EXPECT_THAT(effects(), ElementsAre("again a1", "again b1", "again a2", "again b2"));
        EXPECT_EQ(replay().state, "done");
    }
    publish({"a"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("a3"));
}

TEST_P(RabbitmqReplayTest, WhatWaitsInTheQueueIsNoPartOfIt) {
    publish({"a", "b"});
    settle();
    effects();
    publish({"a", "b", "a"});
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    settle();
    EXPECT_THAT(effects(), ElementsAre("again a1", "again b1", "a2", "b2", "a3"));
    EXPECT_EQ(replay().state, "done");
}

TEST_P(RabbitmqReplayTest, WhatWaitsIsNotOvertakenByAStretchThatBeginsBehindIt) {
    publish({"a", "b"});
    settle();
    effects();
    publish({"a", "b", "a"});
    ASSERT_TRUE(ask(ReplayStart::behind(3)));
    settle();
    EXPECT_THAT(effects(), ElementsAre("a2", "b2", "a3"));
}

TEST_P(RabbitmqReplayTest, WhatWaitsFromBeforeThePastWasKeptIsNotOvertaken) {
    given_a_past_that_begins_now([&] { publish({"a", "b"}); });
    publish({"a", "b"});
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "b1", "a2", "b2"));
}

TEST_P(RabbitmqReplayTest, FindsWhatWaitsFarFromTheEnd) {
    publish({"a", "b"});
    settle();
    effects();
    std::vector<Event> events;
    for (std::size_t i = 1; i <= 4000; ++i) {
        events.push_back(event_of(fmt::format("k{}.", i), 1));
    }
    publish_events(events);
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    EXPECT_THAT(next_effects(), ElementsAre("again a1", "again b1"));
    EXPECT_THAT(next_effects(), ElementsAre("k1.1", "k2.1", "k3.1"));
}

// A relay that lost the confirms: what waits first in the queue is an event of the past.
TEST_P(RabbitmqReplayTest, EndsBeforeTheSecondSendingOfAnEventNotBeforeTheFirst) {
    publish({"a", "b", "a"});
    settle();
    effects();
    publish_events({event_of("b", 1), event_of("a", 2)});
    publish({"b"});
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    settle();
    EXPECT_THAT(effects(), ElementsAre("again a1", "again b1", "again a2", "b2"));
}

TEST_P(RabbitmqReplayTest, WhatComesMeanwhileComesBehindThePast) {
    publish({"a", "b", "a", "b"});
    settle();
    effects();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    EXPECT_THAT(next_effects(), ElementsAre("again a1", "again b1", "again a2"));
    publish({"a", "b"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("again b2", "a3", "b3"));
}

TEST_P(RabbitmqReplayTest, BeginsBehindAPositionOrAtATime) {
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

TEST_P(RabbitmqReplayTest, ReplaysOneKeyAndNoOther) {
    publish({"a", "b", "a", "b", "a"});
    settle();
    effects();
    ASSERT_TRUE(ask(ReplayStart::beginning(), "b"));
    publish({"a", "b"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("again b1", "again b2", "a4", "b3"));
}

TEST_P(RabbitmqReplayTest, FillsANewSubscriptionWithWhatWasBeforeIt) {
    consumer.reset();
    AmqpClient(vhost.server().port(), vhost.name()).delete_queue("test.0");
    publish({"a", "b", "a"});
    open("two");
    publish({"a"});
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    settle();
    EXPECT_THAT(effects(), ElementsAre("again a1", "again b1", "again a2", "a3"));
}

TEST_P(RabbitmqReplayTest, GoesOnWhereItWasAfterACrash) {
    publish({"a", "b", "c", "d", "e", "f"});
    settle();
    effects();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    EXPECT_THAT(next_effects(), ElementsAre("again a1", "again b1", "again c1"));
    crash_and_reopen();
    publish({"a"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("again d1", "again e1", "again f1", "a2"));
    EXPECT_EQ(replay().state, "done");
}

TEST_P(RabbitmqReplayTest, AnotherMemberGoesOnWhereTheFirstLeft) {
    publish({"a", "b", "c", "d", "e"});
    settle();
    effects();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    EXPECT_THAT(next_effects(), ElementsAre("again a1", "again b1", "again c1"));
    open("two");
    settle();
    EXPECT_THAT(effects(), ElementsAre("again d1", "again e1"));
}

TEST_P(RabbitmqReplayTest, GoesBackOnceMoreWhenItsConnectionBreaks) {
    publish({"a", "b", "c", "d", "e"});
    settle();
    effects();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    EXPECT_THAT(next_effects(), ElementsAre("again a1", "again b1", "again c1"));
    proxy.cut();
    publish({"a"});
    EXPECT_TRUE(eventually([&] {
        const auto done = consumer->run_once();
        return done && *done == 0 && is_quiet();
    }));
    EXPECT_THAT(effects(), ElementsAre("again d1", "again e1", "a2"));
}

TEST_P(RabbitmqReplayTest, LosesAndRepeatsNothingWhereverItDies) {
    using enum FailingBroker::Call;
    for (const auto call : {kRewind, kAcknowledge}) {
        for (const bool does_it : {false, true}) {
            SCOPED_TRACE(fmt::format("call {}, {}", static_cast<int>(call), does_it));
            publish({"a", "b", "c", "d"});
            settle();
            effects();
            ASSERT_TRUE(ask(ReplayStart::beginning()));
            broker().fail_next(call, does_it);
            EXPECT_TRUE(eventually([&] { return !consumer->run_once(); }));
            crash_and_reopen();
            publish({"a"});
            settle();
            std::vector<std::string> again;
            for (std::size_t i = 1; i <= counts["b"]; ++i) {
                again.push_back(fmt::format("again a{}", 2 * i - 1));
                for (const char* key : {"b", "c", "d"}) {
                    again.push_back(fmt::format("again {}{}", key, i));
                }
                again.push_back(fmt::format("{}a{}", i == counts["b"] ? "" : "again ", 2 * i));
            }
            EXPECT_THAT(effects(), ElementsAreArray(again));
            EXPECT_EQ(replay().state, "done");
        }
    }
}

TEST_P(RabbitmqReplayTest, AKeyThatFailsWaitsWithWhatIsBehindItAndOthersGoOn) {
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

TEST_P(RabbitmqReplayTest, SaysThatThePastWasDeletedAndGoesOnWithTheQueue) {
    // So that the member has few of them in memory.
    consumer.reset();
    options = "?prefetch=3";
    open("two");
    for (int i = 0; i < 10; ++i) {
        publish({"a", "b", "c"});
    }
    settle();
    effects();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    EXPECT_THAT(next_effects(), ElementsAre("again a1", "again b1", "again c1"));
    AmqpClient(vhost.server().port(), vhost.name()).delete_queue("shop.order.p0.past");
    publish({"d"});
    EXPECT_TRUE(eventually([&] {
        std::ignore = consumer->run_once();
        return is_quiet();
    }));
    EXPECT_EQ(replay().state, "refused");
    EXPECT_THAT(replay().problem, HasSubstr("history"));
    const auto rest = effects();
    ASSERT_FALSE(rest.empty());
    EXPECT_LT(rest.size(), 27U);
    EXPECT_EQ(rest.back(), "d1");
}

TEST_P(RabbitmqReplayTest, IsRefusedWhereNoPastIsKept) {
    consumer.reset();
    owner_broker = connect(vhost.server().port(), "");
    publisher = owner_broker->publisher().value();
    AmqpClient(vhost.server().port(), vhost.name()).delete_queue("shop.order.p0.past");
    open("two");
    publish({"a"});
    settle();
    ASSERT_TRUE(ask(ReplayStart::beginning()));
    publish({"a"});
    settle();
    EXPECT_EQ(replay().state, "refused");
    EXPECT_THAT(replay().problem, HasSubstr("?history=7d"));
    EXPECT_THAT(effects(), ElementsAre("a1", "a2"));
}

INSTANTIATE_TEST_SUITE_P(On, RabbitmqReplayTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         [](const auto& test) {
                             return test.param == Home::kSqlite ? "sqlite" : "postgres";
                         });

}  // namespace
}  // namespace instep::test
