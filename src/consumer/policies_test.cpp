// What becomes of failures, and what holds a subscription back, on both databases.
#include "instep/consumer/consumer.hpp"
#include "instep/consumer/dead_letters.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
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

constexpr std::int64_t kAnHour = 3'600'000'000;

class PoliciesTest : public testing::TestWithParam<Home> {
protected:
    PoliciesTest() {
        run_sql(*system.owner,
                GetParam() == Home::kSqlite
                    ? "CREATE TABLE effects (number INTEGER PRIMARY KEY, id TEXT)"
                    : "CREATE TABLE effects (number bigint GENERATED ALWAYS AS IDENTITY, id text)");
        publisher = std::move(*system.broker->publisher());
        EXPECT_TRUE(publisher->declare_topic("shop.order", 1));
        options.subscription = "test";
        options.topic = "shop.order";
        options.member = "one";
        options.parked_backoff = {1ms, 1.0, 1ms, 0.0};
        options.attempts_max = 2;
    }

    void start() {
        consumer.reset();
        consumer = std::move(*Consumer::create(*system.owner_database, *system.broker, handler,
                                               system.random, system.logger, options));
        EXPECT_TRUE(consumer->run_once());
    }

    Verdict handle(Transaction& transaction, const Event& event) {
        ++calls;
        if (down.contains(event.id)) {
            return Verdict::unavailable("no mail server");
        }
        if (const auto error = errors.find(event.id); error != errors.end()) {
            return Verdict::retry(Error{error->second, "as the test wants it"});
        }
        if (bad.contains(event.id)) {
            return Verdict::retry("no address");
        }
        EXPECT_TRUE(transaction.execute("INSERT INTO effects (id) VALUES ($1)",
                                        {std::string_view(event.id)}));
        return Verdict::done();
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

    /// Runs a second apart, until nothing moved for a while.
    void settle() {
        for (int quiet = 0; quiet < 5;) {
            quiet = consumer->run_once().value_or(0) == 0 ? quiet + 1 : 0;
            system.clock.advance(1s);
        }
    }

    /// What people do is noticed within a second, which a server's clock takes to pass.
    void settle_until(const std::vector<std::string>& wanted) {
        EXPECT_TRUE(test::eventually([&] {
            settle();
            return effects() == wanted;
        })) << testing::PrintToString(effects());
    }

    template <class Act>
    auto act(const Act& act) {
        auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite).value();
        auto done = act(transaction);
        EXPECT_TRUE(transaction.commit());
        return done.value();
    }

    /// A server's second may be over before the test looks, and the test cannot move its clock.
    void move_rate(std::int64_t us) {
        run_sql(
            *system.owner,
            fmt::format("UPDATE instep_subscription SET rate_until_us = rate_until_us + {}", us));
    }

    [[nodiscard]] std::vector<std::string> effects() const {
        return rows_of(*system.owner, "SELECT id FROM effects ORDER BY number");
    }

    [[nodiscard]] std::vector<ParkedKey> dead() const {
        return list_dead_letters(*system.owner, {}, 10).value();
    }

    [[nodiscard]] std::uint64_t unacknowledged() const {
        return system.broker->lag("shop.order")->front().events;
    }

    [[nodiscard]] std::vector<SubscriptionHalt> halts() const {
        return list_halts(*system.owner).value();
    }

    const Operator ada{"ada", "it is mended"};
    SyncSystem system{{.owner = GetParam()}};
    InboxHandler handler{
        "test",
        [this](Transaction& transaction, const Event& event) { return handle(transaction, event); },
        system.logger};
    ConsumerOptions options;
    std::unique_ptr<Publisher> publisher;
    std::unique_ptr<Consumer> consumer;
    std::set<std::string> bad;
    std::map<std::string, ErrorCode> errors;
    std::set<std::string> down;
    int calls = 0;
    std::map<std::string, int> counts;
    std::uint64_t version = 0;
};

using SkipTest = PoliciesTest;

TEST_P(SkipTest, TheKeyGoesOnBehindAnEventThatRanOutOfAttempts) {
    options.on_failure = OnFailure::kSkip;
    start();
    bad = {"b1"};
    publish({"a", "b", "b", "a"});
    EXPECT_TRUE(consumer->run_once());
    EXPECT_THAT(effects(), ElementsAre("a1", "a2")) << "b2 overtook b1, which has attempts left";
    settle();
    publish({"b"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "a2", "b2", "b3"));
    EXPECT_FALSE(consumer->halt());
    EXPECT_EQ(value_of(*system.owner, "SELECT sum(discarded) FROM instep_progress"), "1");
}

TEST_P(SkipTest, TheEventIsKeptWithItsError) {
    options.on_failure = OnFailure::kSkip;
    options.attempts_max = 1;
    start();
    bad = {"b1"};
    publish({"b", "b"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("b2"));
    ASSERT_EQ(dead().size(), 1U);
    EXPECT_TRUE(dead()[0].skipped);
    EXPECT_FALSE(dead()[0].dead);
    EXPECT_EQ(dead()[0].attempts, 1U);
    EXPECT_THAT(dead()[0].error_message, HasSubstr("no address"));
    const auto waiting = list_waiting_events(*system.owner, "test", "b", 10).value();
    ASSERT_EQ(waiting.size(), 1U);
    EXPECT_TRUE(waiting[0].is_skipped);
    EXPECT_THAT(waiting[0].envelope, HasSubstr("\"b1\""));
}

TEST_P(SkipTest, ASkippedEventCanBeRetriedEditedAndDiscarded) {
    options.on_failure = OnFailure::kSkip;
    options.attempts_max = 1;
    start();
    bad = {"a1", "b1", "c1"};
    publish({"a", "b", "c"});
    settle();
    ASSERT_EQ(dead().size(), 3U);
    bad.clear();
    EXPECT_EQ(act([&](Transaction& transaction) {
                  return retry_dead_letters(transaction, {.key = "a"}, ada);
              }),
              1U);
    settle_until({"a1"});
    const auto waiting = list_waiting_events(*system.owner, "test", "b", 10).value();
    act([&](Transaction& transaction) -> Result<bool> {
        INSTEP_TRY(edit_dead_letter(transaction, waiting[0].number, "{}", ada));
        return true;
    });
    settle_until({"a1", "b1"});
    EXPECT_EQ(act([&](Transaction& transaction) {
                  return discard_dead_letters(transaction, {.key = "c"}, DiscardScope::kOldestEvent,
                                              ada);
              }),
              1U);
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "b1"));
    EXPECT_THAT(dead(), IsEmpty());
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_parked_event"), "0");
    EXPECT_EQ(list_dead_letter_actions(*system.owner, 10)->size(), 3U);
}

using StopFlowTest = PoliciesTest;

TEST_P(StopFlowTest, NothingBehindAFailureIsTried) {
    options.on_failure = OnFailure::kStopFlow;
    start();
    bad = {"b1"};
    publish({"a", "b", "a", "c"});
    settle();
    publish({"d"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1"));
    EXPECT_EQ(unacknowledged(), 3U) << "what is behind it stays at the broker";
    ASSERT_TRUE(consumer->halt());
    EXPECT_EQ(consumer->halt()->kind, HaltKind::kFailedEvent);
    EXPECT_THAT(consumer->halt()->reason, HasSubstr("no address"));
    ASSERT_EQ(halts().size(), 1U);
    EXPECT_EQ(halts()[0].halt.kind, HaltKind::kFailedEvent);
    EXPECT_THAT(halts()[0].halt.reason, HasSubstr("to be retried"));
}

TEST_P(StopFlowTest, GoesOnInOrderOnceItIsRetried) {
    options.on_failure = OnFailure::kStopFlow;
    start();
    bad = {"b1"};
    publish({"a", "b", "b", "a"});
    settle();
    bad.clear();
    EXPECT_EQ(
        act([&](Transaction& transaction) { return retry_dead_letters(transaction, {}, ada); }),
        1U);
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "b1", "b2", "a2"));
    EXPECT_FALSE(consumer->halt());
    EXPECT_THAT(halts(), IsEmpty());
    EXPECT_EQ(unacknowledged(), 0U);
}

TEST_P(StopFlowTest, GoesOnBehindWhatIsDiscarded) {
    options.on_failure = OnFailure::kStopFlow;
    start();
    bad = {"b1"};
    publish({"b", "b"});
    settle();
    act([&](Transaction& transaction) {
        return discard_dead_letters(transaction, {}, DiscardScope::kOldestEvent, ada);
    });
    settle();
    EXPECT_THAT(effects(), ElementsAre("b2"));
}

TEST_P(StopFlowTest, StandsAlsoForTheNextProcess) {
    options.on_failure = OnFailure::kStopFlow;
    start();
    bad = {"b1"};
    publish({"b", "a"});
    settle();
    start();
    settle();
    EXPECT_THAT(effects(), IsEmpty());
    EXPECT_TRUE(consumer->halt());
}

TEST_P(StopFlowTest, StandsAtAMessageThatIsNoEventToo) {
    options.on_failure = OnFailure::kStopFlow;
    start();
    publish({"a", "b", "c"});
    run_sql(*system.broker_database->connect().value(),
            "UPDATE instep_message SET version = x'00' WHERE id = 'b1'");
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1"));
    EXPECT_TRUE(consumer->halt());
    EXPECT_EQ(unacknowledged(), 1U);
}

using ErrorPoliciesTest = PoliciesTest;

TEST_P(ErrorPoliciesTest, TheClassOfTheLastFailureDecides) {
    options.policies[ErrorCode::kTimeout] = {{1ms, 1.0, 1ms, 0.0}, 4, OnFailure::kBlockKey};
    options.policies[ErrorCode::kCorrupt] = {{}, 1, OnFailure::kSkip};
    start();
    errors = {{"a1", ErrorCode::kTimeout}, {"b1", ErrorCode::kCorrupt}};
    bad = {"c1"};
    publish({"a", "b", "b", "c"});
    EXPECT_TRUE(consumer->run_once());
    EXPECT_THAT(rows_of(*system.owner,
                        "SELECT key || ' ' || error_code FROM instep_parked_key "
                        "ORDER BY key"),
                ElementsAre("a timeout", "c rejected"));
    settle();
    EXPECT_THAT(effects(), ElementsAre("b2")) << "skipped at its first failure";
    ASSERT_EQ(dead().size(), 3U);
    std::map<std::string, std::uint32_t> attempts;
    for (const ParkedKey& each : dead()) {
        attempts[each.key] = each.attempts;
    }
    EXPECT_EQ(attempts, (std::map<std::string, std::uint32_t>{{"a", 4}, {"b", 1}, {"c", 2}}));
}

TEST_P(ErrorPoliciesTest, AFailureBehindASkippedEventIsTheFirstOfItsOwn) {
    options.policies[ErrorCode::kCorrupt] = {{}, 1, OnFailure::kSkip};
    options.attempts_max = 5;
    start();
    errors = {{"b1", ErrorCode::kCorrupt}};
    bad = {"b2"};
    publish({"b", "b", "b"});
    EXPECT_TRUE(consumer->run_once());
    EXPECT_EQ(value_of(*system.owner, "SELECT attempts FROM instep_parked_key"), "1");
    EXPECT_EQ(value_of(*system.owner,
                       "SELECT count(*) FROM instep_parked_event WHERE skipped_us IS NULL"),
              "2");
    bad.clear();
    settle_until({"b2", "b3"});
}

TEST_P(ErrorPoliciesTest, AttemptsCountOverAllClasses) {
    options.policies[ErrorCode::kTimeout] = {{1ms, 1.0, 1ms, 0.0}, 0, OnFailure::kBlockKey};
    start();
    errors = {{"a1", ErrorCode::kTimeout}};
    publish({"a"});
    settle();
    EXPECT_THAT(dead(), IsEmpty()) << "a time-out is tried without end";
    errors.clear();
    bad = {"a1"};
    ASSERT_TRUE(test::eventually([&] {
        settle();
        return dead().size() == 1;
    }));
    EXPECT_EQ(dead()[0].error_code, "rejected");
}

TEST_P(ErrorPoliciesTest, OnlyTheirClassStopsTheFlow) {
    options.policies[ErrorCode::kNotFound] = {{1ms, 1.0, 1ms, 0.0}, 2, OnFailure::kStopFlow};
    start();
    bad = {"a1"};
    errors = {{"c1", ErrorCode::kNotFound}};
    publish({"a", "b", "a", "c", "d"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("b1")) << "a blocks its key, and c the flow";
    ASSERT_TRUE(consumer->halt());
    EXPECT_EQ(consumer->halt()->kind, HaltKind::kFailedEvent);
    EXPECT_THAT(consumer->halt()->reason, HasSubstr("key c"));
    errors.clear();
    act([&](Transaction& transaction) {
        return retry_dead_letters(transaction, {.key = "c"}, ada);
    });
    settle_until({"b1", "c1", "d1"});
    EXPECT_FALSE(consumer->halt()) << "what is left blocks its key only";
}

TEST_P(ErrorPoliciesTest, NothingPassesAParkedKeyThatFailsAnewAndStopsAll) {
    options.attempts_max = 5;
    options.policies[ErrorCode::kNotFound] = {{1ms, 1.0, 1ms, 0.0}, 5, OnFailure::kStopFlow};
    start();
    bad = {"a1"};
    publish({"a"});
    EXPECT_TRUE(consumer->run_once());
    EXPECT_FALSE(consumer->halt());
    run_sql(*system.owner, "UPDATE instep_parked_key SET next_try_us = 0");
    errors = {{"a1", ErrorCode::kNotFound}};
    publish({"b"});
    EXPECT_TRUE(consumer->run_once());
    EXPECT_THAT(effects(), IsEmpty());
    errors.clear();
    bad.clear();
    settle_until({"a1", "b1"});
}

TEST_P(ErrorPoliciesTest, OneClassMayGoOnWhereTheFlowStopsOtherwise) {
    options.on_failure = OnFailure::kStopFlow;
    options.policies[ErrorCode::kCorrupt] = {{}, 1, OnFailure::kSkip};
    start();
    errors = {{"a1", ErrorCode::kCorrupt}};
    publish({"a", "a", "b"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("a2", "b1"));
    EXPECT_FALSE(consumer->halt());
    bad = {"a3"};
    publish({"a", "b"});
    settle();
    EXPECT_TRUE(consumer->halt());
    EXPECT_THAT(effects(), ElementsAre("a2", "b1"));
}

using CircuitTest = PoliciesTest;

TEST_P(CircuitTest, OpensAndTriesNothingWhileTheTargetIsDown) {
    options.circuit = CircuitBreakerOptions{.failures_to_open = 2, .open_for = 1h};
    start();
    down = {"b1"};
    publish({"a", "b", "c"});
    const auto failed = consumer->run_once();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(effects(), ElementsAre("a1")) << "what stands before it takes effect";
    EXPECT_FALSE(consumer->run_once());
    const int before = calls;
    EXPECT_EQ(consumer->run_once().value_or(9), 0U);
    EXPECT_EQ(calls, before);
    ASSERT_TRUE(consumer->halt());
    EXPECT_EQ(consumer->halt()->kind, HaltKind::kCircuitOpen);
    EXPECT_THAT(consumer->halt()->reason, HasSubstr("no mail server"));
    ASSERT_EQ(halts().size(), 1U);
    EXPECT_THAT(list_parked_keys(*system.owner, "", 10).value(), IsEmpty());
    EXPECT_EQ(unacknowledged(), 2U);
}

TEST_P(CircuitTest, ProbesWithOneEventAndClosesOnceItIsAnswered) {
    options.circuit = CircuitBreakerOptions{.failures_to_open = 1, .open_for = 1ms};
    start();
    down = {"a1"};
    publish({"a", "b", "c"});
    EXPECT_FALSE(consumer->run_once());
    const int before = calls;
    for (int i = 0; i < 10 && calls == before; ++i) {
        (void)consumer->run_once();
        system.clock.advance(1s);
    }
    EXPECT_EQ(calls - before, 1);
    EXPECT_EQ(unacknowledged(), 3U);
    down.clear();
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "b1", "c1"));
    EXPECT_FALSE(consumer->halt());
    EXPECT_THAT(halts(), IsEmpty());
}

TEST_P(CircuitTest, CountsNoAttemptsOfParkedKeysEither) {
    options.circuit = CircuitBreakerOptions{.failures_to_open = 1, .open_for = 1ms};
    options.attempts_max = 3;
    start();
    bad = {"b1"};
    publish({"b"});
    EXPECT_TRUE(consumer->run_once());
    bad.clear();
    down = {"b1"};
    for (int i = 0; i < 10; ++i) {
        system.clock.advance(1s);
        (void)consumer->run_once();
    }
    EXPECT_EQ(list_parked_keys(*system.owner, "", 1)->front().attempts, 1U);
    down.clear();
    settle();
    EXPECT_THAT(effects(), ElementsAre("b1"));
}

TEST_P(CircuitTest, AProbePassesNoEventAtWhichAllStops) {
    options.circuit = CircuitBreakerOptions{.failures_to_open = 1, .open_for = 1ms};
    options.on_failure = OnFailure::kStopFlow;
    start();
    bad = {"b1"};
    publish({"b"});
    EXPECT_TRUE(consumer->run_once());
    bad.clear();
    down = {"b1"};
    publish({"a"});
    for (int i = 0; i < 10; ++i) {
        system.clock.advance(1s);
        (void)consumer->run_once();
    }
    EXPECT_GT(calls, 2) << "it was probed";
    EXPECT_THAT(effects(), IsEmpty());
    down.clear();
    settle_until({"b1", "a1"});
}

using FlowControlTest = PoliciesTest;

TEST_P(FlowControlTest, APausedSubscriptionTakesNothingUntilItIsResumed) {
    start();
    act([&](Transaction& transaction) -> Result<bool> {
        INSTEP_TRY(pause_subscription(transaction, "test", ada));
        return true;
    });
    system.clock.advance(1s);
    ASSERT_TRUE(test::eventually([&] {
        EXPECT_TRUE(consumer->run_once());
        return consumer->halt().has_value();
    }));
    publish({"a"});
    settle();
    EXPECT_THAT(effects(), IsEmpty());
    EXPECT_EQ(consumer->halt()->kind, HaltKind::kPaused);
    ASSERT_EQ(halts().size(), 1U);
    EXPECT_EQ(halts()[0].halt.reason, "paused by ada: it is mended");
    start();
    settle();
    EXPECT_THAT(effects(), IsEmpty()) << "a process that starts later honours it too";
    EXPECT_TRUE(
        act([&](Transaction& transaction) { return resume_subscription(transaction, "test"); }));
    settle_until({"a1"});
    EXPECT_FALSE(
        act([&](Transaction& transaction) { return resume_subscription(transaction, "test"); }));
}

TEST_P(FlowControlTest, TakesNoMoreThanItsRate) {
    options.rate_limit = 2;
    start();
    publish({"a", "b", "c", "d", "e", "f"});
    const auto before = system.owner->now().value().time_since_epoch() / 1us;
    EXPECT_EQ(consumer->run_once().value_or(0), 2U);
    EXPECT_GE(std::stoll(value_of(*system.owner, "SELECT rate_until_us FROM instep_subscription")),
              before + 1'000'000);
    move_rate(kAnHour);
    EXPECT_EQ(consumer->run_once().value_or(9), 0U) << "the second is not over";
    move_rate(-kAnHour - 1'000'000);
    EXPECT_EQ(consumer->run_once().value_or(0), 2U);
    EXPECT_EQ(effects().size(), 4U);
    EXPECT_FALSE(consumer->halt());
}

TEST_P(FlowControlTest, TheRateIsOneForAllMembers) {
    options.rate_limit = 2;
    start();
    publish({"a", "b", "c"});
    EXPECT_EQ(consumer->run_once().value_or(0), 2U);
    move_rate(kAnHour);
    options.member = "two";
    start();
    EXPECT_EQ(consumer->run_once().value_or(9), 0U);
    EXPECT_EQ(effects().size(), 2U);
    EXPECT_EQ(unacknowledged(), 1U);
}

TEST_P(FlowControlTest, StopsAtItsLimitOfParkedKeysAndGoesOnBelowIt) {
    options.parked_keys_max = 2;
    start();
    bad = {"a1", "b1"};
    publish({"a", "b"});
    settle();
    publish({"c"});
    settle();
    EXPECT_THAT(effects(), IsEmpty());
    ASSERT_TRUE(consumer->halt());
    EXPECT_EQ(consumer->halt()->kind, HaltKind::kParkedLimit);
    EXPECT_EQ(unacknowledged(), 1U);
    bad = {"b1"};
    act([&](Transaction& transaction) {
        return retry_dead_letters(transaction, {.key = "a"}, ada);
    });
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "c1"));
    EXPECT_FALSE(consumer->halt());
}

TEST_P(FlowControlTest, GoesOnWhereAnotherMemberFreesWhatStoodWhenItTookOver) {
    options.parked_keys_max = 1;
    start();
    bad = {"a1"};
    publish({"a"});
    settle();
    start();
    publish({"c"});
    settle();
    EXPECT_TRUE(consumer->halt());
    run_sql(*system.owner, "DELETE FROM instep_parked_event");
    run_sql(*system.owner, "DELETE FROM instep_parked_key");
    settle_until({"c1"});
}

TEST_P(FlowControlTest, StopsAtItsLimitOfParkedBytes) {
    options.parked_bytes_max = 100;
    start();
    bad = {"a1"};
    publish({"a"});
    settle();
    publish({"c"});
    settle();
    EXPECT_EQ(consumer->halt()->kind, HaltKind::kParkedLimit);
    start();
    settle();
    EXPECT_TRUE(consumer->halt()) << "what stood before counts";
    act([&](Transaction& transaction) {
        return discard_dead_letters(transaction, {}, DiscardScope::kAllEvents, ada);
    });
    settle();
    EXPECT_THAT(effects(), ElementsAre("c1"));
}

std::string name_of(const testing::TestParamInfo<Home>& home) {
    return home.param == Home::kSqlite ? "Sqlite" : "Postgres";
}

INSTANTIATE_TEST_SUITE_P(On, SkipTest, testing::Values(Home::kSqlite, Home::kPostgres), name_of);
INSTANTIATE_TEST_SUITE_P(On, StopFlowTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         name_of);
INSTANTIATE_TEST_SUITE_P(On, ErrorPoliciesTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         name_of);
INSTANTIATE_TEST_SUITE_P(On, CircuitTest, testing::Values(Home::kSqlite, Home::kPostgres), name_of);
INSTANTIATE_TEST_SUITE_P(On, FlowControlTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         name_of);

}  // namespace
}  // namespace instep
