// A subscription that reads an owner's log goes back in it, on both databases.
#include "instep/db/postgres/database.hpp"
#include "instep/db/sqlite/database.hpp"
#include "instep/direct/broker.hpp"
#include "instep/log/log.hpp"
#include "tests/support/postgres_session.hpp"
#include "tests/support/replay_fixture.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// The service "shop" handles the events of its own log. One of a replay takes effect with a mark.
class DirectReplayTest : public ReplayFixture {
protected:
    DirectReplayTest() {
        DirectOptions options;
        options.service = "shop";
        options.last_taken = [this](std::string_view subscription) {
            return last_taken(*system.owner, subscription, 0);
        };
        DirectOwner owner;
        owner.service = "shop";
        owner.database = open_database();
        owner.topics = {"shop.order"};
        options.owners.push_back(std::move(owner));
        broker = open_direct_broker(std::move(options), system.clock, system.logger).value();
        open("one");
    }

    ~DirectReplayTest() override { end_consumers(); }

    std::unique_ptr<Database> open_database() {
        return is_postgres() ? open_postgres(system.servers.front()->url(), system.clock).value()
                             : open_sqlite(system.dir.file("iam.db"), system.clock).value();
    }

    using ReplayFixture::open;
    void open(const std::string& member) override {
        HandlerSet handlers;
        handlers.on("order.placed", [](HandlerContext& context) {
            const Event& event = context.event();
            const std::string id = (context.is_replay() ? "again " : "") + event.data;
            const std::string version = to_sequence(event.version);
            EXPECT_TRUE(
                context.transaction().execute("INSERT INTO effects (id, version) VALUES ($1, $2)",
                                              {std::string_view(id), std::string_view(version)}));
            return Verdict::done();
        });
        open(*broker, std::move(handlers), member);
    }

    void settle() { ReplayFixture::settle(20); }

    void ask(ReplayStart start = ReplayStart::beginning(), const std::string& key = "") {
        ASSERT_TRUE(ReplayFixture::ask(start, key));
    }

    /// Events whose data are these texts; the first letter of each is its key.
    void append(std::initializer_list<const char*> texts) {
        for (const char* text : texts) {
            NewEvent event;
            event.topic = "shop.order";
            event.key = std::string(1, *text);
            event.type = "order.placed";
            event.content_type = "text/plain";
            event.data = text;
            auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite).value();
            ASSERT_TRUE(instep::append(transaction, std::span(&event, 1)));
            ASSERT_TRUE(transaction.commit());
        }
    }

    std::unique_ptr<Broker> broker;
};

TEST_P(DirectReplayTest, HandlesAllOfThePastOnceMoreInOrder) {
    append({"a1", "b1", "a2", "b2"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "b1", "a2", "b2"));
    for (int i = 0; i < 2; ++i) {
        ask();
        settle();
        EXPECT_THAT(effects(), ElementsAre("again a1", "again b1", "again a2", "again b2"));
        EXPECT_EQ(replay().state, "done");
    }
    append({"a3"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("a3"));
    EXPECT_EQ(broker->lag("shop.order")->front().events, 0U);
}

TEST_P(DirectReplayTest, WhatIsNewComesBehindThePast) {
    append({"a1", "b1"});
    settle();
    effects();
    append({"a2"});
    ask();
    settle();
    EXPECT_THAT(effects(), ElementsAre("again a1", "again b1", "a2"));
    EXPECT_EQ(replay().state, "done");
    EXPECT_EQ(value_of(*system.owner,
                       "SELECT count(*) FROM effects e JOIN effects n "
                       "ON e.id LIKE 'again %' AND n.id = 'a2' "
                       "WHERE e.version < n.version"),
              "2")
        << "a guard by versions lets what is new win";
}

TEST_P(DirectReplayTest, ReplaysOneKeyAndNoOther) {
    append({"a1", "b1", "a2", "b2", "a3"});
    settle();
    effects();
    // What was handled long ago must not take effect again because it was forgotten.
    ASSERT_TRUE(system.owner->execute("DELETE FROM instep_inbox", {}));
    ask(ReplayStart::beginning(), "b");
    settle();
    EXPECT_THAT(effects(), ElementsAre("again b1", "again b2"));
}

TEST_P(DirectReplayTest, GoesOnWhereItWasAfterACrash) {
    append({"a1", "b1", "c1", "d1", "e1", "f1"});
    settle();
    effects();
    ask();
    while (seen == 6) {
        ASSERT_TRUE(consumer->run_once());
        EXPECT_THAT(effects(),
                    testing::AnyOf(IsEmpty(), ElementsAre("again a1", "again b1", "again c1")));
    }
    crash_and_reopen();
    append({"a2"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("again d1", "again e1", "again f1", "a2"));
    EXPECT_EQ(replay().state, "done");
}

TEST_P(DirectReplayTest, RefusesAPositionThatThePastDoesNotHave) {
    append({"a1"});
    settle();
    effects();
    const Position acknowledged = broker->lag("shop.order")->front().acknowledged;
    ask(ReplayStart::behind(acknowledged + (is_postgres() ? 0 : 1)));
    settle();
    EXPECT_EQ(replay().state, "refused");
    EXPECT_THAT(replay().problem, HasSubstr("between positions"));
    EXPECT_THAT(effects(), IsEmpty());
    for (const auto& start : {ReplayStart::behind(0), ReplayStart::since(Timestamp{})}) {
        ask(start);
        settle();
        EXPECT_EQ(replay().state, "done");
        EXPECT_THAT(effects(), ElementsAre("again a1"));
    }
}

INSTANTIATE_TEST_SUITE_P(On, DirectReplayTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         [](const auto& test) {
                             return test.param == Home::kSqlite ? "sqlite" : "postgres";
                         });

/// Where numbers are drawn in another order than transactions end.
class SnapshotReplayTest : public DirectReplayTest {
protected:
    /// Appends without a commit.
    void append_open(PostgresSession& session, std::string_view text) {
        session.run(
            fmt::format("BEGIN; SELECT instep.append('shop.order', '{}', 'order.placed', "
                        "'\"{}\"')",
                        text.front(), text));
    }

    PostgresSession slow{system.servers.front()->url()};
};

TEST_P(SnapshotReplayTest, ReadsWhatWasReadAndNothingElse) {
    append_open(slow, "s1");
    append({"a1", "b1"});
    settle();
    EXPECT_THAT(effects(), ElementsAre("a1", "b1"));
    ask();
    settle();
    EXPECT_THAT(effects(), ElementsAre("again a1", "again b1")) << "s1 is not committed";
    slow.run("COMMIT");
    settle();
    EXPECT_THAT(effects(), ElementsAre("\"s1\"")) << "it comes for the first time";
    ask();
    settle();
    EXPECT_THAT(effects(), ElementsAre("again \"s1\"", "again a1", "again b1"));
}

TEST_P(SnapshotReplayTest, WhatCommitsInThePastMeanwhileComesBehindIt) {
    append_open(slow, "s1");
    append({"a1", "b1", "c1", "d1"});
    settle();
    effects();
    ask();
    while (effects().empty()) {
        ASSERT_TRUE(consumer->run_once());
    }
    slow.run("COMMIT");
    settle();
    EXPECT_THAT(effects(), ElementsAre("again d1", "\"s1\""));
    EXPECT_EQ(replay().state, "done");
}

TEST_P(SnapshotReplayTest, GoesBackAgainWhereTheLogForgotThatItDid) {
    append({"a1", "b1", "c1", "d1"});
    settle();
    effects();
    ask();
    while (effects().empty()) {
        ASSERT_TRUE(consumer->run_once());
    }
    consumer.reset();
    // As after a loss of power, which may undo what was not forced to the disk.
    run_sql(*system.owner, "UPDATE instep_cursor SET past_seq = NULL");
    open("two");
    settle();
    EXPECT_THAT(effects(), ElementsAre("again d1"));
}

INSTANTIATE_TEST_SUITE_P(On, SnapshotReplayTest, testing::Values(Home::kPostgres),
                         [](const auto& /*test*/) { return "postgres"; });

}  // namespace
}  // namespace instep::test
