// How parked keys are tried again: many at once, each by itself, and in their share of the time.
#include "instep/consumer/consumer.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::Home;
using test::rows_of;
using test::value_of;
using testing::ElementsAre;
using testing::IsEmpty;

/// A handler that takes time, and refuses some events or finds its target down for them.
class ParkedRetriesTest : public testing::TestWithParam<Home> {
protected:
    ParkedRetriesTest() {
        test::run_sql(
            *system.owner,
            GetParam() == Home::kSqlite
                ? "CREATE TABLE effects (number INTEGER PRIMARY KEY, id TEXT)"
                : "CREATE TABLE effects (number bigint GENERATED ALWAYS AS IDENTITY, id text)");
        publisher = std::move(*system.broker->publisher());
        EXPECT_TRUE(publisher->declare_topic("shop.order", 1));
        ConsumerOptions options;
        options.subscription = "test";
        options.topic = "shop.order";
        options.member = "one";
        options.batch_events_max = 10;
        options.parked_backoff = {1ms, 1.0, 1ms, 0.0};
        consumer = std::move(*Consumer::create(*system.owner_database, *system.broker, handler,
                                               system.random, system.logger, options));
    }

    Verdict handle(Transaction& transaction, const Event& event) {
        tried.push_back(event.id);
        system.clock.advance(cost);
        if (down.contains(event.id)) {
            return Verdict::unavailable("no mail server");
        }
        // Also of what is refused nothing may stay.
        EXPECT_TRUE(transaction.execute("INSERT INTO effects (id) VALUES ($1)",
                                        {std::string_view(event.id)}));
        return bad.contains(event.key) ? Verdict::retry("no address") : Verdict::done();
    }

    /// `count` events for each of the keys, one key after the other; ids are "key/1", "key/2", …
    void publish(const std::vector<std::string>& keys, int count = 1) {
        std::vector<Event> events;
        for (const std::string& key : keys) {
            for (int i = 0; i < count; ++i) {
                Event& event = events.emplace_back();
                event.key = key;
                event.id = fmt::format("{}/{}", key, ++counts[key]);
                event.source = "shop";
                event.type = "order.placed";
                event.version = {1, ++version, 0};
            }
        }
        EXPECT_EQ(publisher->publish({"shop.order", 0, events, 1}).durable, events.size());
    }

    /// Keys whose events are all set aside, and due.
    void given_parked(const std::vector<std::string>& keys, int events_each = 1) {
        bad.insert(keys.begin(), keys.end());
        publish(keys, events_each);
        while (system.broker->lag("shop.order")->front().events > 0) {
            ASSERT_TRUE(consumer->run_once());
        }
        system.clock.advance(1h);
        test::run_sql(*system.owner, "UPDATE instep_parked_key SET next_try_us = 0, attempts = 1");
        tried.clear();
    }

    static std::vector<std::string> names(char letter, int count) {
        std::vector<std::string> all;
        for (int i = 0; i < count; ++i) {
            all.push_back(fmt::format("{}{:03}", letter, i));
        }
        return all;
    }

    std::size_t tries_of(char letter) const {
        return static_cast<std::size_t>(std::ranges::count_if(
            tried, [&](const std::string& id) { return id.front() == letter; }));
    }

    [[nodiscard]] std::vector<std::string> effects() const {
        return rows_of(*system.owner, "SELECT id FROM effects ORDER BY number");
    }

    test::SyncSystem system{{.owner = GetParam()}};
    InboxHandler handler{
        "test",
        [this](Transaction& transaction, const Event& event) { return handle(transaction, event); },
        system.logger};
    std::unique_ptr<Publisher> publisher;
    std::unique_ptr<Consumer> consumer;
    std::set<std::string> bad;
    std::set<std::string> down;
    std::chrono::milliseconds cost{0};
    std::vector<std::string> tried;
    std::map<std::string, int> counts;
    std::uint64_t version = 0;
};

TEST_P(ParkedRetriesTest, AFailureTakesNothingBackOfOtherKeys) {
    given_parked({"a", "b", "c"}, 2);
    bad = {"b"};
    EXPECT_EQ(consumer->run_once().value_or(0), 4U);
    EXPECT_THAT(effects(), testing::UnorderedElementsAre("a/1", "a/2", "c/1", "c/2"));
    EXPECT_EQ(value_of(*system.owner, "SELECT key || attempts FROM instep_parked_key"), "b2");
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_inbox"), "4");
    EXPECT_EQ(value_of(*system.owner, "SELECT applied FROM instep_progress"), "4");
}

TEST_P(ParkedRetriesTest, WhatSucceedsOfAKeyTakesEffectInOrder) {
    given_parked({"a", "b"}, 40);
    bad.clear();
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(consumer->run_once());
    }
    std::map<char, int> newest;
    for (const std::string& id : effects()) {
        EXPECT_EQ(id, fmt::format("{}/{}", id[0], ++newest[id[0]]));
    }
    EXPECT_EQ(newest, (std::map<char, int>{{'a', 40}, {'b', 40}}));
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_parked_event"), "0");
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_parked_key"), "0");
}

TEST_P(ParkedRetriesTest, WhatIsBehindAFailureWaits) {
    given_parked({"a", "b"});
    publish({"a", "b", "a"});
    bad = {"b"};
    ASSERT_TRUE(consumer->run_once());
    publish({"b"});
    ASSERT_TRUE(consumer->run_once());
    EXPECT_THAT(effects(), ElementsAre("a/1", "a/2", "a/3"));
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_parked_event"), "3");
}

TEST_P(ParkedRetriesTest, ATargetThatIsDownForOneKeyTakesNothingBackOfThoseBefore) {
    given_parked({"a", "b", "c"});
    test::run_sql(*system.owner,
                  "UPDATE instep_parked_key SET next_try_us = -1 WHERE key = 'a'; "
                  "UPDATE instep_parked_key SET next_try_us = 1 WHERE key = 'c'");
    bad.clear();
    down = {"b/1"};
    const auto run = consumer->run_once();
    ASSERT_FALSE(run);
    EXPECT_EQ(run.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(effects(), ElementsAre("a/1"));
    EXPECT_EQ(value_of(*system.owner, "SELECT attempts FROM instep_parked_key WHERE key = 'b'"),
              "1")
        << "it counts no attempt";
    down.clear();
    ASSERT_TRUE(consumer->run_once());
    EXPECT_THAT(effects(), testing::UnorderedElementsAre("a/1", "b/1", "c/1"));
}

TEST_P(ParkedRetriesTest, DeadLettersAreNotTried) {
    given_parked({"a", "b"});
    test::run_sql(*system.owner, "UPDATE instep_parked_key SET dead_us = 1 WHERE key = 'a'");
    bad.clear();
    ASSERT_TRUE(consumer->run_once());
    EXPECT_THAT(effects(), ElementsAre("b/1"));
}

INSTANTIATE_TEST_SUITE_P(On, ParkedRetriesTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         [](const auto& test) {
                             return test.param == Home::kSqlite ? "sqlite" : "postgres";
                         });

/// Where the test moves the clock by which a consumer counts its time.
using RetryShareTest = ParkedRetriesTest;

TEST_P(RetryShareTest, ParkedKeysGetASmallShareWhileOthersWait) {
    given_parked(names('x', 200));
    publish(names('o', 300));
    cost = 1ms;
    while (tries_of('o') < 300) {
        ASSERT_TRUE(consumer->run_once());
    }
    EXPECT_GT(tries_of('x'), 0U);
    // One in twenty, and what the first step may take.
    EXPECT_LE(tries_of('x'), 300U / 20 + 21);
    EXPECT_THAT(effects(), testing::SizeIs(300));
}

TEST_P(RetryShareTest, ParkedKeysGetAllOfItWhereNothingElseWaits) {
    given_parked(names('x', 200));
    bad.clear();
    cost = 1ms;
    ASSERT_TRUE(consumer->run_once());
    EXPECT_LE(tried.size(), 21U) << "others that come need not wait long";
    for (int i = 0; i < 12; ++i) {
        ASSERT_TRUE(consumer->run_once());
    }
    EXPECT_THAT(effects(), testing::SizeIs(200));
}

TEST_P(RetryShareTest, OthersAreOwedNothingOnceTheyNoLongerWait) {
    given_parked(names('x', 200));
    publish(names('o', 10));
    cost = 1ms;
    ASSERT_TRUE(consumer->run_once());
    ASSERT_EQ(tries_of('o'), 10U);
    const std::size_t before = tries_of('x');
    ASSERT_TRUE(consumer->run_once());
    EXPECT_GT(tries_of('x'), before);
}

TEST_P(RetryShareTest, OthersAreOwedNothingWhileTheyGetNoFurther) {
    given_parked(names('x', 200));
    publish(names('o', 20));
    cost = 1ms;
    ASSERT_TRUE(consumer->run_once());
    const std::size_t before = tries_of('x');
    down = {"o010/1"};
    ASSERT_FALSE(consumer->run_once());
    EXPECT_EQ(tries_of('x'), before) << "they waited until then";
    ASSERT_FALSE(consumer->run_once());
    EXPECT_GT(tries_of('x'), before);
}

TEST_P(RetryShareTest, WhatIsDueIsNotSleptOver) {
    given_parked(names('x', 100));
    cost = 1ms;
    ASSERT_TRUE(consumer->run_once());
    ASSERT_LT(tried.size(), 100U);
    const auto began = std::chrono::steady_clock::now();
    consumer->wait({}, 1h);
    EXPECT_LT(std::chrono::steady_clock::now() - began, test::kPatience);
}

INSTANTIATE_TEST_SUITE_P(On, RetryShareTest, testing::Values(Home::kSqlite),
                         [](const auto& /*test*/) { return "sqlite"; });

}  // namespace
}  // namespace instep
