#include "instep/consumer/dead_letters.hpp"

#include "instep/consumer/subscription.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::rows_of;
using test::SyncSystem;
using test::value_of;
using testing::ElementsAre;
using testing::IsEmpty;

/// A subscription whose handler refuses some payloads, and three attempts.
class DeadLettersTest : public testing::Test {
protected:
    DeadLettersTest() {
        system.owner_sql("CREATE TABLE effects (number INTEGER PRIMARY KEY, key TEXT, data TEXT)");
        publisher = std::move(*system.broker->publisher());
        EXPECT_TRUE(publisher->declare_topic("shop.order", 1));
        consumer = make();
        EXPECT_TRUE(consumer->run_once());
    }

    std::unique_ptr<Consumer> make() {
        HandlerSet handlers;
        handlers.on("order.placed", [this](HandlerContext& context) -> Verdict {
            attempts.push_back(context.attempt());
            if (bad.contains(context.event().data)) {
                return retry_after ? Verdict::retry_after(*retry_after, "later")
                                   : Verdict::retry("no stock for " + context.event().data);
            }
            EXPECT_TRUE(context.transaction().execute(
                "INSERT INTO effects (key, data) VALUES ($1, $2)",
                {std::string_view(context.event().key), std::string_view(context.event().data)}));
            return Verdict::done();
        });
        handler = std::make_unique<SubscriptionHandler>("test", std::move(handlers), system.random,
                                                        system.logger);
        ConsumerOptions options;
        options.subscription = "test";
        options.topic = "shop.order";
        options.member = "one";
        options.parked_backoff = {1s, 1.0, 1s, 0.0};
        options.attempts_max = 3;
        return std::move(*Consumer::create(*system.owner_database, *system.broker, *handler,
                                           system.random, system.logger, options));
    }

    void publish(std::string key, std::string data) {
        Event event;
        event.key = std::move(key);
        event.id = fmt::format("e{}", ++version);
        event.source = "shop";
        event.type = "order.placed";
        event.version = {1, version, 0};
        event.data = std::move(data);
        EXPECT_EQ(publisher->publish({"shop.order", 0, {&event, 1}, 1}).durable, 1U);
    }

    /// Runs the consumer, a second apart.
    void run(int times) {
        for (int i = 0; i < times; ++i) {
            EXPECT_TRUE(consumer->run_once());
            system.clock.advance(1s);
        }
    }

    [[nodiscard]] std::vector<std::string> effects() const {
        return rows_of(*system.owner, "SELECT key, data FROM effects ORDER BY number");
    }

    std::vector<ParkedKey> dead(const DeadLetterFilter& filter = {}) {
        return list_dead_letters(*system.owner, filter, 100).value();
    }

    template <class Act>
    auto act(const Act& act) {
        auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite).value();
        auto done = act(transaction);
        if (done) {
            EXPECT_TRUE(transaction.commit());
        }
        return done;
    }

    const Operator ada{"ada", "the stock was counted"};
    SyncSystem system;
    std::unique_ptr<Publisher> publisher;
    std::unique_ptr<SubscriptionHandler> handler;
    std::unique_ptr<Consumer> consumer;
    std::set<std::string> bad{"7"};
    std::optional<std::chrono::milliseconds> retry_after;
    std::vector<std::uint32_t> attempts;
    std::uint64_t version = 0;
};

TEST_F(DeadLettersTest, AKeyIsDeadAfterItsLastAttemptAndOthersGoOn) {
    publish("a", "7");
    publish("a", "8");
    publish("b", "9");
    run(5);
    EXPECT_THAT(effects(), ElementsAre("b|9"));
    ASSERT_EQ(dead().size(), 1U);
    EXPECT_EQ(dead()[0].key, "a");
    EXPECT_EQ(dead()[0].attempts, 3U);
    EXPECT_EQ(dead()[0].events, 2U);
    EXPECT_NE(dead()[0].error_message.find("no stock for 7"), std::string::npos);
    const auto before = attempts.size();
    run(5);
    EXPECT_EQ(attempts.size(), before) << "a dead letter was tried again";
    EXPECT_EQ(system.log_lines.count("consumer.dead_letter"), 1U);
}

TEST_F(DeadLettersTest, TheHandlerKnowsWhichAttemptItIs) {
    publish("a", "7");
    run(5);
    EXPECT_EQ(attempts.back(), 3U);
    EXPECT_EQ(attempts.front(), 1U);
}

TEST_F(DeadLettersTest, AHandlerChoosesItsOwnDelay) {
    retry_after = 10s;
    publish("a", "7");
    run(2);
    const auto before = attempts.size();
    run(8);
    EXPECT_EQ(attempts.size(), before);
    run(2);
    EXPECT_GT(attempts.size(), before);
}

TEST_F(DeadLettersTest, ARetryKeepsTheKeysOrder) {
    publish("a", "7");
    publish("a", "8");
    run(5);
    publish("a", "9");
    run(1);
    bad.clear();
    EXPECT_EQ(act([&](Transaction& transaction) {
                  return retry_dead_letters(transaction, {.key = "a"}, ada);
              }).value(),
              1U);
    publish("a", "10");
    run(2);
    EXPECT_THAT(effects(), ElementsAre("a|7", "a|8", "a|9", "a|10"));
    EXPECT_THAT(dead(), IsEmpty());
    const auto actions = list_dead_letter_actions(*system.owner, 10).value();
    ASSERT_EQ(actions.size(), 1U);
    EXPECT_EQ(actions[0].who, "ada");
    EXPECT_EQ(actions[0].action, "retry");
    EXPECT_EQ(actions[0].reason, "the stock was counted");
}

TEST_F(DeadLettersTest, ARetryThatFailsHasAllItsAttemptsAgain) {
    publish("a", "7");
    run(5);
    ASSERT_TRUE(
        act([&](Transaction& transaction) { return retry_dead_letters(transaction, {}, ada); }));
    run(2);
    EXPECT_THAT(dead(), IsEmpty());
    run(2);
    EXPECT_EQ(dead().size(), 1U);
}

TEST_F(DeadLettersTest, ADiscardedEventIsPassedOverAndKept) {
    publish("a", "7");
    publish("a", "8");
    run(5);
    EXPECT_EQ(act([&](Transaction& transaction) {
                  return discard_dead_letters(transaction, {.key = "a"}, DiscardScope::kOldestEvent,
                                              ada);
              }).value(),
              1U);
    publish("a", "9");
    run(3);
    EXPECT_THAT(effects(), ElementsAre("a|8", "a|9"));
    const auto actions = list_dead_letter_actions(*system.owner, 10).value();
    ASSERT_EQ(actions.size(), 1U);
    EXPECT_NE(actions[0].envelope.find("\"e1\""), std::string::npos) << actions[0].envelope;
    EXPECT_EQ(value_of(*system.owner, "SELECT sum(discarded) FROM instep_progress"), "1");
}

TEST_F(DeadLettersTest, ADiscardedEventTakesNoEffectWhenItIsDeliveredAgain) {
    publish("a", "7");
    publish("a", "8");
    run(5);
    version = 0;
    publish("a", "7");
    run(1);
    EXPECT_EQ(act([&](Transaction& transaction) {
                  return discard_dead_letters(transaction, {.key = "a"}, DiscardScope::kOldestEvent,
                                              ada);
              }).value(),
              1U);
    bad.clear();
    run(3);
    version = 0;
    publish("a", "7");
    run(3);
    EXPECT_THAT(effects(), ElementsAre("a|8"));
}

TEST_F(DeadLettersTest, AllOfAKeyCanBeDiscarded) {
    publish("a", "7");
    publish("a", "8");
    run(5);
    EXPECT_EQ(act([&](Transaction& transaction) {
                  return discard_dead_letters(transaction, {.key = "a"}, DiscardScope::kAllEvents,
                                              ada);
              }).value(),
              2U);
    run(2);
    publish("a", "9");
    run(2);
    EXPECT_THAT(effects(), ElementsAre("a|9"));
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_parked_event"), "0");
}

TEST_F(DeadLettersTest, AnEditedEventTakesEffectAsEdited) {
    publish("a", "7");
    publish("a", "8");
    run(5);
    const auto waiting = list_waiting_events(*system.owner, "test", "a", 10).value();
    ASSERT_EQ(waiting.size(), 2U);
    const auto edit = [&](std::string_view data) {
        return act([&](Transaction& transaction) {
            return edit_dead_letter(transaction, waiting[0].number, data, ada);
        });
    };
    EXPECT_EQ(edit("{not json").error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(dead().size(), 1U);
    ASSERT_TRUE(edit("70"));
    run(2);
    EXPECT_THAT(effects(), ElementsAre("a|70", "a|8"));
    EXPECT_EQ(list_dead_letter_actions(*system.owner, 10).value()[0].action, "edit");
}

TEST_F(DeadLettersTest, AFilterNarrows) {
    bad = {"7", "100%"};
    publish("a", "7");
    publish("b", "100%");
    run(5);
    EXPECT_EQ(dead().size(), 2U);
    EXPECT_EQ(dead({.key = "b"}).size(), 1U);
    EXPECT_EQ(dead({.error = "100%"}).size(), 1U);
    EXPECT_EQ(dead({.error = "%"}).size(), 1U);
    EXPECT_THAT(dead({.subscription = "other"}), IsEmpty());
}

TEST_F(DeadLettersTest, WhatSucceedsBeforeAFailingEventTakesEffect) {
    bad = {"7", "8"};
    publish("a", "7");
    publish("a", "8");
    run(2);
    bad = {"8"};
    run(5);
    EXPECT_THAT(effects(), ElementsAre("a|7"));
    ASSERT_EQ(dead().size(), 1U);
    EXPECT_EQ(dead()[0].events, 1U);
    EXPECT_EQ(dead()[0].attempts, 3U) << "counted for the event that fails";
}

TEST_F(DeadLettersTest, NothingIsActedOnThatIsNotThere) {
    EXPECT_EQ(act([&](Transaction& transaction) {
                  return retry_dead_letters(transaction, {}, ada);
              }).value(),
              0U);
    EXPECT_EQ(
        act([&](Transaction& transaction) { return edit_dead_letter(transaction, 5, "{}", ada); })
            .error()
            .code,
        ErrorCode::kNotFound);
}

}  // namespace
}  // namespace instep
