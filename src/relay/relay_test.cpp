#include "instep/relay/relay.hpp"

#include "instep/lease/lease.hpp"
#include "instep/log/boundary.hpp"
#include "tests/support/passing_broker.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::Home;
using test::SyncSystem;
using testing::ElementsAre;

/// Passes everything on to a broker, but for what the test takes away.
class FlakyPublisher final : public test::PassingPublisher {
public:
    struct Faults {
        /// Events that get through before the broker is gone; after that none.
        std::size_t events_left = SIZE_MAX;
        std::vector<std::string> published_keys;
    };
    FlakyPublisher(std::unique_ptr<Publisher> inner, Faults& faults)
        : PassingPublisher(std::move(inner)), faults_(faults) {}

    PublishOutcome publish(const PublishBatch& batch) override {
        PublishBatch cut = batch;
        cut.events = batch.events.first(std::min(batch.events.size(), faults_.events_left));
        PublishOutcome outcome = PassingPublisher::publish(cut);
        for (std::size_t i = 0; i < outcome.durable; ++i) {
            faults_.published_keys.push_back(cut.events[i].key);
        }
        if (faults_.events_left != SIZE_MAX) {
            faults_.events_left -= cut.events.size();
        }
        if (cut.events.size() < batch.events.size()) {
            outcome.failure = Error{ErrorCode::kUnavailable, "the broker is gone"};
        }
        return outcome;
    }

private:
    Faults& faults_;
};

class FlakyBroker final : public test::PassingBroker {
public:
    using PassingBroker::PassingBroker;

    Result<std::unique_ptr<Publisher>> publisher() override {
        INSTEP_TRY_ASSIGN(auto publisher, PassingBroker::publisher());
        return std::make_unique<FlakyPublisher>(std::move(publisher), faults);
    }

    FlakyPublisher::Faults faults;
};

/// Has no chunks, but lets something happen while the log is being read.
class Interruption final : public ChunkSource {
public:
    explicit Interruption(std::function<void()> happens) : happens_(std::move(happens)) {}

    Result<std::vector<TopicEvent>> read_chunks(Transaction& /*snapshot*/,
                                                const Version& /*as_of*/) override {
        happens_();
        return std::vector<TopicEvent>{};
    }
    Result<void> confirm_chunks(Transaction& /*transaction*/) override { return {}; }

private:
    std::function<void()> happens_;
};

class RelayTest : public testing::Test {
protected:
    explicit RelayTest(Home owner = Home::kSqlite) : system({.owner = owner}) {
        system.relays.clear();
        relay = make("one");
    }

    std::unique_ptr<Relay> make(std::string owner, std::vector<std::string> transactions = {},
                                ChunkSource* chunks = nullptr) {
        RelayOptions options;
        options.transactions = std::move(transactions);
        options.service = "iam";
        options.owner = std::move(owner);
        options.batch_events_max = 10;
        auto made = Relay::create(*system.owner_database, broker, chunks, system.logger, options);
        EXPECT_TRUE(made);
        return std::move(*made);
    }

    void given_events(std::string_view topic, std::initializer_list<const char*> keys) {
        for (const char* key : keys) {
            system.owner_sql(
                fmt::format("INSERT INTO instep_log (topic, key, type, data) VALUES ('{}', '{}', "
                            "'x.done', '1')",
                            topic, key));
        }
    }

    SyncSystem system;
    FlakyBroker broker{*system.broker};
    std::unique_ptr<Relay> relay;
};

TEST_F(RelayTest, PublishesInCommitOrder) {
    given_events("iam.user", {"a", "b", "a", "c"});
    EXPECT_EQ(relay->run_once().value_or(0), 4U);
    EXPECT_THAT(broker.faults.published_keys, ElementsAre("a", "b", "a", "c"));
    EXPECT_EQ(relay->run_once().value_or(9), 0U);
}

TEST_F(RelayTest, GoesOnBehindTheConfirmedPrefixWhenTheBrokerIsBack) {
    given_events("iam.user", {"a", "b", "c", "d"});
    broker.faults.events_left = 2;
    EXPECT_FALSE(relay->run_once());
    EXPECT_FALSE(relay->run_once());
    broker.faults.events_left = SIZE_MAX;
    EXPECT_EQ(relay->run_once().value_or(0), 2U);
    EXPECT_THAT(broker.faults.published_keys, ElementsAre("a", "b", "c", "d"));
}

TEST_F(RelayTest, NeverMovesPastAnEventThatOneOfSeveralTopicsDidNotTake) {
    given_events("iam.user", {"a"});
    given_events("iam.role", {"r"});
    given_events("iam.user", {"b"});
    broker.faults.events_left = 2;
    EXPECT_FALSE(relay->run_once());
    broker.faults.events_left = SIZE_MAX;
    while (relay->run_once().value_or(0) > 0) {
    }
    EXPECT_THAT(broker.faults.published_keys, testing::IsSupersetOf({"a", "b", "r"}));
    EXPECT_EQ(log_lag(*system.owner, "relay")->events, 0U);
}

class WholeTransactionsTest : public RelayTest {
protected:
    explicit WholeTransactionsTest(Home owner = Home::kSqlite) : RelayTest(owner) {
        relay = make("one", {"iam.user", "iam.role"});
        subscriber = std::move(*system.broker->subscribe(
            {.subscription = "all", .topic = "iam.transactions", .member = "a"}));
    }

    /// What came to the topic of whole transactions: keys, and a stroke for each boundary.
    std::string told() {
        std::string story;
        EXPECT_TRUE(subscriber->assignments());
        const auto received = subscriber->receive(1000, 1 << 20);
        for (const Delivery& delivery : *received) {
            story += is_boundary(delivery.event) ? "|" : delivery.event.key;
        }
        return story;
    }

    std::unique_ptr<Subscriber> subscriber;
};

TEST_F(WholeTransactionsTest, StandTogetherInTheOrderOfTheLogBeforeABoundary) {
    given_events("iam.user", {"a"});
    given_events("iam.other", {"x"});
    given_events("iam.role", {"r"});
    given_events("iam.user", {"b"});
    EXPECT_EQ(relay->run_once().value_or(0), 4U);
    EXPECT_EQ(told(), "arb|");
    EXPECT_EQ(relay->run_once().value_or(9), 0U);
    given_events("iam.other", {"x"});
    EXPECT_EQ(relay->run_once().value_or(0), 1U);
    EXPECT_EQ(told(), "");
}

TEST_F(WholeTransactionsTest, HaveTheirBoundaryAlsoWhereARelayStoppedBeforeIt) {
    given_events("iam.user", {"a"});
    EXPECT_TRUE(relay->run_once());
    told();
    given_events("iam.user", {"b", "c"});
    // Two topics have both events each; the third of the other one is the boundary.
    broker.faults.events_left = 4;
    EXPECT_FALSE(relay->run_once());
    EXPECT_EQ(told(), "bc");
    broker.faults.events_left = SIZE_MAX;
    relay.reset();
    relay = make("two", {"iam.user", "iam.role"});
    EXPECT_TRUE(relay->run_once());
    EXPECT_THAT(told(), testing::EndsWith("|"));
}

TEST_F(WholeTransactionsTest, NoBoundaryEndsWhatWasCommittedSinceTheLogWasRead) {
    given_events("iam.user", {"a"});
    EXPECT_TRUE(relay->run_once());
    told();
    relay.reset();
    Interruption interruption([&] { given_events("iam.user", {"b"}); });
    relay = make("two", {"iam.user", "iam.role"}, &interruption);
    EXPECT_TRUE(relay->run_once());
    EXPECT_TRUE(subscriber->assignments());
    const auto boundary = subscriber->receive(1000, 1 << 20).value();
    ASSERT_EQ(boundary.size(), 1U);
    EXPECT_TRUE(is_boundary(boundary[0].event));
    EXPECT_TRUE(relay->run_once());
    const auto next = subscriber->receive(1, 1 << 20).value();
    ASSERT_EQ(next.size(), 1U);
    EXPECT_EQ(next[0].event.key, "b");
    EXPECT_LT(boundary[0].event.version, next[0].event.version);
}

class WholeTransactionsOnPostgresTest : public WholeTransactionsTest {
protected:
    WholeTransactionsOnPostgresTest() : WholeTransactionsTest(Home::kPostgres) {}
};

TEST_F(WholeTransactionsOnPostgresTest, HaveABoundaryAsOftenWhereWritersAreFasterThanTheRelay) {
    for (int steps = 0; steps < 30; ++steps) {
        system.owner_sql(
            "SELECT count(instep.append('iam.user', 'k', 'x.done', '1')) "
            "FROM generate_series(1, 25)");
        EXPECT_TRUE(relay->run_once());
    }
    EXPECT_GE(std::ranges::count(told(), '|'), 6);
}

TEST_F(RelayTest, AnotherStandsByAndTakesOverAfterTheLease) {
    given_events("iam.user", {"a"});
    auto other = make("two");
    EXPECT_EQ(relay->run_once().value_or(9), 1U);
    EXPECT_EQ(relay->run_once().value_or(9), 0U);
    given_events("iam.user", {"b"});
    EXPECT_EQ(other->run_once().value_or(9), 0U);
    EXPECT_FALSE(other->leads());
    system.clock.advance(11s);
    EXPECT_EQ(other->run_once().value_or(0), 1U);
    EXPECT_THAT(broker.faults.published_keys, ElementsAre("a", "b"));
}

TEST_F(RelayTest, ARelayThatWasReplacedMovesNoCursor) {
    given_events("iam.user", {"a"});
    EXPECT_TRUE(relay->run_once());
    auto other = make("two");
    system.clock.advance(11s);
    EXPECT_TRUE(other->run_once());
    given_events("iam.user", {"b"});
    // The first relay was paused: by its own clock reading its lease is still good.
    EXPECT_EQ(other->run_once().value_or(0), 1U);
    const auto stale = relay->run_once();
    EXPECT_EQ(stale.value_or(0), 0U);
    EXPECT_FALSE(relay->leads());
    // It was paused before it moved the cursor behind what it had published.
    EXPECT_THAT(broker.faults.published_keys, ElementsAre("a", "a", "b"));
}

TEST_F(RelayTest, MovesTheCursorBehindWhatIsPublishedWhenItEnds) {
    given_events("iam.user", {"a"});
    EXPECT_EQ(relay->run_once().value_or(9), 1U);
    relay.reset();
    relay = make("two");
    EXPECT_EQ(relay->run_once().value_or(9), 0U);
    EXPECT_THAT(broker.faults.published_keys, ElementsAre("a"));
}

TEST_F(RelayTest, ASourceRestoredFromACopyGetsANewEpoch) {
    given_events("iam.user", {"a"});
    EXPECT_TRUE(relay->run_once());
    test::run_sql(*system.owner, "PRAGMA wal_checkpoint(TRUNCATE)");
    std::filesystem::copy(system.dir.file("iam.db"), system.dir.file("old.db"));
    given_events("iam.user", {"b", "c"});
    EXPECT_TRUE(relay->run_once());

    relay.reset();
    system.request_consumer.reset();
    system.owner.reset();
    for (const char* name : {"iam.db", "iam.db-wal", "iam.db-shm"}) {
        std::filesystem::remove(system.dir.file(name));
    }
    std::filesystem::copy(system.dir.file("old.db"), system.dir.file("iam.db"));
    system.owner = std::move(*system.owner_database->connect());
    relay = make("one");
    given_events("iam.user", {"d"});
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(relay->run_once());
    }
    EXPECT_EQ(relay->stats().epochs_begun, 1U);
    EXPECT_EQ(log_identity(*system.owner)->epoch, 2U);
    EXPECT_EQ(broker.faults.published_keys.back(), "d");
}

}  // namespace
}  // namespace instep
