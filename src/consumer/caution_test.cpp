#include "instep/consumer/consumer.hpp"
#include "instep/consumer/dead_letters.hpp"
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
using test::run_sql;
using test::SyncSystem;
using test::value_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Le;
using testing::UnorderedElementsAre;

/// What stands for the end of the process, in the middle of a handler.
struct ProcessEnded {};

/// Writes the events it gets into table `effects`, unless one of them is poison.
class PoisonedHandler final : public Handler {
public:
    Result<ApplyCounts> apply(Transaction& transaction,
                              std::span<const Event* const> events) override {
        trials_seen +=
            std::stoi(value_of(transaction.connection(), "SELECT count(*) FROM instep_trial"));
        ApplyCounts counts;
        for (const Event* event : events) {
            if (target_down) {
                return fail(ErrorCode::kUnavailable, "the target is down");
            }
            if (refused.contains(event->id)) {
                return fail(ErrorCode::kRejected, "event " + event->id + " is refused");
            }
            if (poison.contains(event->id)) {
                throw ProcessEnded{};
            }
            INSTEP_TRY(transaction.execute("INSERT INTO effects (id) VALUES ($1)",
                                           {std::string_view(event->id)}));
            ++counts.applied;
        }
        return counts;
    }

    std::set<std::string> poison;
    std::set<std::string> refused;
    bool target_down = false;

    /// Notes that stood while something was tried.
    int trials_seen = 0;
};

class CautionTest : public testing::TestWithParam<Home> {
protected:
    CautionTest() {
        run_sql(*system.owner,
                GetParam() == Home::kSqlite
                    ? "CREATE TABLE effects (number INTEGER PRIMARY KEY, id TEXT)"
                    : "CREATE TABLE effects (number bigint GENERATED ALWAYS AS IDENTITY, id text)");
        publisher = std::move(*system.broker->publisher());
        EXPECT_TRUE(publisher->declare_topic("shop.order", 1));
        start();
    }

    void start() {
        ConsumerOptions options;
        options.subscription = "test";
        options.topic = "shop.order";
        options.member = "one";
        options.batch_events_max = 5;
        options.parked_backoff = {1ms, 1.0, 1ms, 0.0};
        options.crashes_max = crashes_max;
        consumer = std::move(*Consumer::create(*system.owner_database, *system.broker, handler,
                                               system.random, system.logger, options));
    }

    /// Another process begins where this one ended: nobody gave its lease up.
    void start_after_end() {
        consumer.reset();
        run_sql(*system.owner, "UPDATE instep_lease SET until_us = 1 WHERE name LIKE 'consumer/%'");
        start();
    }

    /// One event for each key; ids are counted for each key: a1, a2, …
    void publish(std::initializer_list<const char*> keys) {
        std::vector<Event> events;
        for (const char* key : keys) {
            Event& event = events.emplace_back();
            event.key = key;
            event.id = fmt::format("{}{}", key, ++counts[key]);
            event.source = "shop";
            event.type = "order.placed";
            event.version = {1, ++version, 0};
        }
        EXPECT_EQ(publisher->publish({"shop.order", 0, events, 1}).durable, events.size());
    }

    /// Runs until nothing moves any more, starting again after each end, or after so many ends.
    /// Returns how many.
    int run(int ends_max = 20) {
        int ends = 0;
        for (int quiet = 0; quiet < 3 && ends < ends_max;) {
            try {
                const auto done = consumer->run_once();
                quiet = done.value_or(0) == 0 ? quiet + 1 : 0;
                system.clock.advance(1s);
            } catch (const ProcessEnded&) {
                ++ends;
                start_after_end();
            }
        }
        return ends;
    }

    [[nodiscard]] std::vector<std::string> effects() const {
        return rows_of(*system.owner, "SELECT id FROM effects ORDER BY number");
    }

    [[nodiscard]] std::vector<ParkedKey> dead() const {
        return list_dead_letters(*system.owner, {}, 10).value();
    }

    [[nodiscard]] std::string trials() const {
        return value_of(*system.owner, "SELECT count(*) FROM instep_trial");
    }

    SyncSystem system{{.owner = GetParam()}};
    PoisonedHandler handler;
    std::unique_ptr<Publisher> publisher;
    std::unique_ptr<Consumer> consumer;
    std::uint32_t crashes_max = 3;
    std::map<std::string, int> counts;
    std::uint64_t version = 0;
};

TEST_P(CautionTest, AnEventThatEndsTheProcessIsDeadAndEverythingElseGoesOn) {
    handler.poison = {"b1"};
    publish({"a", "b", "c", "b", "a", "c", "a"});
    // In its batch, in its batch that was noted, and three times alone.
    EXPECT_EQ(run(), 5);
    EXPECT_THAT(effects(), ElementsAre("a1", "c1", "a2", "c2", "a3"));
    ASSERT_EQ(dead().size(), 1U);
    EXPECT_EQ(dead()[0].key, "b");
    EXPECT_EQ(dead()[0].events, 2U);
    EXPECT_THAT(dead()[0].error_message, HasSubstr("the process ended 3 times"));
    EXPECT_EQ(trials(), "0");
}

TEST_P(CautionTest, TheNextEndIsCountedAnew) {
    handler.poison = {"b1", "c1"};
    publish({"a", "b", "c", "a"});
    EXPECT_THAT(run(), Le(10));
    EXPECT_THAT(effects(), ElementsAre("a1", "a2"));
    EXPECT_EQ(dead().size(), 2U);
}

TEST_P(CautionTest, NothingIsGivenUpForAProcessThatEndedByChance) {
    publish({"a", "b", "c", "a", "b", "c", "a"});
    for (int i = 0; i < 8; ++i) {
        start_after_end();
        (void)consumer->run_once();
        (void)consumer->run_once();
    }
    run();
    EXPECT_THAT(effects(), ElementsAre("a1", "b1", "c1", "a2", "b2", "c2", "a3"));
    EXPECT_THAT(dead(), IsEmpty());
}

TEST_P(CautionTest, AParkedEventThatEndsTheProcessIsDead) {
    handler.refused = {"b1"};
    publish({"a", "b", "c"});
    EXPECT_TRUE(consumer->run_once());
    handler.refused.clear();
    handler.poison = {"b1"};
    publish({"a", "b"});
    system.clock.advance(1s);
    EXPECT_EQ(run(), 5);
    EXPECT_THAT(effects(), UnorderedElementsAre("a1", "c1", "a2"));
    ASSERT_EQ(dead().size(), 1U);
    EXPECT_THAT(dead()[0].error_message, HasSubstr("the process ended 3 times"));
}

TEST_P(CautionTest, OneThatComesBackIsNotCounted) {
    handler.poison = {"b1"};
    publish({"a", "b"});
    EXPECT_EQ(run(3), 3) << "it is tried alone by now";
    handler.target_down = true;
    for (int i = 0; i < 5; ++i) {
        EXPECT_FALSE(consumer->run_once());
        start_after_end();
    }
    handler.target_down = false;
    handler.poison.clear();
    EXPECT_EQ(run(), 0);
    EXPECT_THAT(effects(), ElementsAre("a1", "b1"));
    EXPECT_THAT(dead(), IsEmpty());
}

TEST_P(CautionTest, ADeadLetterOfThisKindCanBeRetried) {
    handler.poison = {"b1"};
    publish({"b", "b"});
    run();
    ASSERT_EQ(dead().size(), 1U);
    handler.poison.clear();
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite).value();
    EXPECT_TRUE(retry_dead_letters(transaction, {}, {"ada", "the library was mended"}));
    EXPECT_TRUE(transaction.commit());
    run();
    EXPECT_THAT(effects(), ElementsAre("b1", "b2"));
}

TEST_P(CautionTest, IsNotThereWhereItIsNotWanted) {
    crashes_max = 0;
    start_after_end();
    handler.poison = {"b1"};
    publish({"a", "b"});
    EXPECT_EQ(run(8), 8);
    EXPECT_THAT(dead(), IsEmpty());
    EXPECT_EQ(handler.trials_seen, 0);
}

TEST_P(CautionTest, CostsNothingUnlessSomethingEnded) {
    publish({"a", "b", "c", "a", "b", "c", "a"});
    run();
    consumer.reset();
    start();
    publish({"a"});
    run();
    EXPECT_EQ(effects().size(), 8U);
    EXPECT_EQ(handler.trials_seen, 0);
}

INSTANTIATE_TEST_SUITE_P(On, CautionTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         [](const auto& home) {
                             return home.param == Home::kSqlite ? "Sqlite" : "Postgres";
                         });

}  // namespace
}  // namespace instep
