#include "instep/consumer/handler.hpp"
#include "tests/support/sync_system.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace instep {
namespace {

using test::Home;
using test::SyncSystem;
using test::value_of;

class InboxTest : public testing::Test {
protected:
    InboxTest() { system.owner_sql("CREATE TABLE effects (id TEXT)"); }

    static Event event(std::string id) {
        Event event;
        event.id = std::move(id);
        event.source = "shop";
        event.type = "order.placed";
        event.key = "k";
        return event;
    }

    Result<ApplyCounts> handle(HandlerFunction function, const Event& next) {
        InboxHandler handler("test", std::move(function), system.logger);
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*system.owner, TransactionMode::kWrite));
        const Event* one = &next;
        INSTEP_TRY_ASSIGN(const ApplyCounts counts, handler.apply(transaction, {&one, 1}));
        INSTEP_TRY(transaction.commit());
        return counts;
    }

    static Verdict note(Transaction& transaction, const Event& event) {
        EXPECT_TRUE(
            transaction.execute("INSERT INTO effects VALUES ($1)", {std::string_view(event.id)}));
        return Verdict::done();
    }

    SyncSystem system;
};

TEST_F(InboxTest, AnEventTakesEffectOnce) {
    EXPECT_EQ(handle(note, event("1"))->applied, 1U);
    EXPECT_EQ(handle(note, event("1"))->duplicates_ignored, 1U);
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM effects"), "1");
}

TEST_F(InboxTest, TheSameIdOfAnotherSourceIsAnotherEvent) {
    EXPECT_TRUE(handle(note, event("1")));
    Event other = event("1");
    other.source = "billing";
    EXPECT_EQ(handle(note, other)->applied, 1U);
}

TEST_F(InboxTest, AFailedEffectIsForgottenWithItsRecord) {
    const auto throws = [](Transaction& transaction, const Event& next) -> Verdict {
        note(transaction, next);
        throw std::runtime_error("mail server said no");
    };
    const auto failed = handle(throws, event("1"));
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::kRejected);
    EXPECT_NE(failed.error().message.find("mail server said no"), std::string::npos);
    EXPECT_EQ(handle(note, event("1"))->applied, 1U);
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM effects"), "1");
}

TEST_F(InboxTest, ADiscardedEventIsCountedAndLogged) {
    const auto discards = [](Transaction&, const Event&) { return Verdict::discard("too old"); };
    EXPECT_EQ(handle(discards, event("1"))->discarded, 1U);
    EXPECT_EQ(system.log_lines.count("too old"), 1U);
}

TEST_F(InboxTest, ATargetThatIsDownIsNotTheEventsFault) {
    const auto finds_it_down = [](Transaction&, const Event&) {
        return Verdict::unavailable("no mail server");
    };
    const auto failed = handle(finds_it_down, event("1"));
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::kUnavailable);
    EXPECT_NE(failed.error().message.find("no mail server"), std::string::npos);
    EXPECT_EQ(handle(note, event("1"))->applied, 1U);
}

TEST_F(InboxTest, TrimsOnlyWhatIsOlder) {
    EXPECT_TRUE(handle(note, event("old")));
    system.clock.advance(std::chrono::hours(2));
    EXPECT_TRUE(handle(note, event("new")));
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite);
    EXPECT_EQ(trim_inbox(*transaction, system.clock.now() - std::chrono::hours(1), 100).value_or(0),
              1U);
    EXPECT_EQ(value_of(*system.owner, "SELECT event_id FROM instep_inbox"), "new");
}

/// On either database a batch is remembered at once, before the first of its effects.
class InboxBatchTest : public testing::TestWithParam<Home> {
protected:
    static Event event(std::string source, std::string id) {
        Event event;
        event.id = std::move(id);
        event.source = std::move(source);
        event.type = "order.placed";
        return event;
    }

    Result<ApplyCounts> handle(const std::vector<Event>& events, std::string_view refused = "") {
        InboxHandler handler(
            "test",
            [&](Transaction&, const Event& next) {
                effects.push_back(next.source + next.id);
                return next.id == refused ? Verdict::retry("no") : Verdict::done();
            },
            system.logger);
        std::vector<const Event*> pointers;
        for (const Event& next : events) {
            pointers.push_back(&next);
        }
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*system.owner, TransactionMode::kWrite));
        INSTEP_TRY_ASSIGN(const ApplyCounts counts, handler.apply(transaction, pointers));
        INSTEP_TRY(transaction.commit());
        return counts;
    }

    using Effects = std::vector<std::string>;
    Effects effects;
    SyncSystem system{{.owner = GetParam()}};
};

TEST_P(InboxBatchTest, RepeatsWithinItAndFromBeforeAreLeftOutAndTheRestKeepsItsOrder) {
    EXPECT_EQ(handle({event("shop", "2"), event("shop", "4")})->applied, 2U);
    effects.clear();
    const auto counts =
        handle({event("shop", "1"), event("shop", "2"), event("bank", "2"), event("shop", "1"),
                event("shop", "3"), event("shop", "4"), event("bank", "2")});
    ASSERT_TRUE(counts) << counts.error().message;
    EXPECT_EQ(counts->applied, 3U);
    EXPECT_EQ(counts->duplicates_ignored, 4U);
    EXPECT_EQ(effects, (Effects{"shop1", "bank2", "shop3"}));
}

TEST_P(InboxBatchTest, NothingIsRememberedOfOneThatFails) {
    const std::vector<Event> events = {event("shop", "1"), event("shop", "2"), event("shop", "3")};
    EXPECT_FALSE(handle(events, "2"));
    EXPECT_EQ(effects, (Effects{"shop1", "shop2"}));
    effects.clear();
    EXPECT_EQ(handle(events)->applied, 3U);
    EXPECT_EQ(effects, (Effects{"shop1", "shop2", "shop3"}));
}

INSTANTIATE_TEST_SUITE_P(On, InboxBatchTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         [](const testing::TestParamInfo<Home>& home) {
                             return home.param == Home::kSqlite ? "Sqlite" : "Postgres";
                         });

}  // namespace
}  // namespace instep
