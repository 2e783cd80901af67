// What subscriptions that read an owner's log promise: order, every event to everybody, and that
// nothing is lost or held up when one of them stops anywhere.
#include "instep/direct/broker.hpp"

#include "instep/db/postgres/database.hpp"
#include "instep/db/sqlite/database.hpp"
#include "instep/log/log.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <ostream>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::Home;
using test::run_sql;
using test::value_of;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::size_t kUnbounded = 1U << 30U;

/// A chunk of its own for whoever asks for one.
class OneChunk final : public ChunkSource {
public:
    explicit OneChunk(int& asked) : asked_(asked) {}

    Result<std::vector<TopicEvent>> read_chunks(Transaction& /*snapshot*/,
                                                const Version& as_of) override {
        std::vector<TopicEvent> chunks;
        if (asked_ > 0) {
            TopicEvent& chunk = chunks.emplace_back();
            chunk.topic = "iam.user";
            chunk.event.id = fmt::format("chunk {}", asked_);
            chunk.event.key = "scan/1";
            chunk.event.type = "user.copied";
            chunk.event.operation = Operation::kChunk;
            chunk.event.version = as_of;
        }
        return chunks;
    }

    Result<void> confirm_chunks(Transaction& /*transaction*/) override {
        --asked_;
        return {};
    }

private:
    int& asked_;
};

class DirectBrokerTest : public testing::TestWithParam<Home> {
protected:
    DirectBrokerTest() { reopen(); }

    /// The broker as a process has it that just started.
    void reopen() {
        DirectOptions options;
        options.service = "crm";
        options.last_taken =
            [this](std::string_view subscription) -> Result<std::optional<LastPublished>> {
            const auto known = taken_.find(std::string(subscription));
            return known == taken_.end() ? std::nullopt : std::optional(known->second);
        };
        DirectOwner owner;
        owner.service = "iam";
        owner.database = open();
        owner.topics = {"iam.user", "iam.role"};
        owner.make_chunks = [this](std::string_view) {
            return std::make_unique<OneChunk>(chunks_asked_);
        };
        options.owners.push_back(std::move(owner));
        broker_ = open_direct_broker(std::move(options), system_.clock, system_.logger).value();
    }

    std::unique_ptr<Database> open() {
        return GetParam() == Home::kSqlite
                   ? open_sqlite(system_.dir.file("iam.db"), system_.clock).value()
                   : open_postgres(system_.servers.front()->url(), system_.clock).value();
    }

    std::unique_ptr<Subscriber> join(const std::string& subscription,
                                     const std::string& member = "a",
                                     StartAt start_at = StartAt::kEarliest) {
        SubscribeOptions options;
        options.subscription = subscription;
        options.topic = "iam.user";
        options.member = member;
        options.start_at = start_at;
        auto subscriber = broker_->subscribe(options);
        EXPECT_TRUE(subscriber) << subscriber.error().message;
        EXPECT_TRUE((*subscriber)->assignments());
        return std::move(*subscriber);
    }

    /// Appends events whose data is "1", "2", …, in one transaction.
    void append(int count, const std::string& topic = "iam.user") {
        std::vector<NewEvent> events;
        for (int i = 0; i < count; ++i) {
            NewEvent& event = events.emplace_back();
            event.topic = topic;
            event.key = fmt::format("k{}", number_ % 7);
            event.type = "user.updated";
            event.data = fmt::to_string(++number_);
        }
        auto transaction = Transaction::begin(*system_.owner, TransactionMode::kWrite).value();
        ASSERT_TRUE(instep::append(transaction, events));
        ASSERT_TRUE(transaction.commit());
    }

    static std::vector<Delivery> receive(Subscriber& subscriber, std::size_t events_max = 1000,
                                         std::size_t bytes_max = kUnbounded) {
        EXPECT_TRUE(subscriber.assignments());
        // A look may find nothing but what is to be passed.
        constexpr int kLooks = 4;
        for (int i = 0; i < kLooks; ++i) {
            auto deliveries = subscriber.receive(events_max, bytes_max);
            EXPECT_TRUE(deliveries) << deliveries.error().message;
            if (deliveries && !deliveries->empty()) {
                return std::move(*deliveries);
            }
        }
        return {};
    }

    static std::vector<std::string> data(std::span<const Delivery> deliveries) {
        std::vector<std::string> all;
        for (const Delivery& delivery : deliveries) {
            all.push_back(delivery.event.operation == Operation::kChunk ? "chunk"
                                                                        : delivery.event.data);
        }
        return all;
    }

    static std::vector<std::string> numbers(int first, int last) {
        std::vector<std::string> all;
        for (int i = first; i <= last; ++i) {
            all.push_back(fmt::to_string(i));
        }
        return all;
    }

    static void acknowledge(Subscriber& subscriber, const Delivery& delivery) {
        const auto done = subscriber.acknowledge(delivery.partition, delivery.position);
        EXPECT_TRUE(done) << done.error().message;
    }

    test::SyncSystem system_{{.owner = GetParam()}};
    std::map<std::string, LastPublished> taken_;
    int chunks_asked_ = 0;
    int number_ = 0;
    std::unique_ptr<Broker> broker_;
};

TEST_P(DirectBrokerTest, GivesEverySubscriptionEveryEventInOrder) {
    const auto billing = join("billing");
    const auto crm = join("crm");
    append(3);
    append(2);

    EXPECT_EQ(data(receive(*billing)), numbers(1, 5));
    const auto deliveries = receive(*crm);
    EXPECT_EQ(data(deliveries), numbers(1, 5));
    EXPECT_TRUE(std::ranges::is_sorted(deliveries, std::less(), &Delivery::position));
}

TEST_P(DirectBrokerTest, HoldsNobodyUpBehindASubscriptionThatStandsStill) {
    const auto stuck = join("stuck");
    const auto crm = join("crm");
    for (int round = 0; round < 3; ++round) {
        append(2);
        std::ignore = receive(*stuck);
        const auto deliveries = receive(*crm);
        EXPECT_THAT(deliveries, SizeIs(2));
        acknowledge(*crm, deliveries.back());
    }
    const auto lags = broker_->lag("iam.user").value();
    ASSERT_THAT(lags, SizeIs(2));
    EXPECT_EQ(lags[0].events, 0U);
    EXPECT_EQ(lags[1].events, 6U);
    EXPECT_TRUE(lags[1].oldest);
}

TEST_P(DirectBrokerTest, DeliversAgainWhatWasNotAcknowledgedBeforeACrash) {
    auto crm = join("crm");
    append(10);
    const auto deliveries = receive(*crm);
    acknowledge(*crm, deliveries[3]);
    crm.reset();
    reopen();

    crm = join("crm", "b");

    const auto again = receive(*crm);
    EXPECT_EQ(data(again), numbers(5, 10));
    EXPECT_EQ(again.front().event, deliveries[4].event);
    EXPECT_EQ(again.front().position, deliveries[4].position);
}

TEST_P(DirectBrokerTest, AcknowledgesAPageInPieces) {
    const auto crm = join("crm");
    append(6);
    const auto first = receive(*crm, 2);
    EXPECT_EQ(data(first), numbers(1, 2));
    acknowledge(*crm, first[0]);
    acknowledge(*crm, first[1]);
    append(1);
    std::vector<std::string> rest;
    for (auto more = receive(*crm, 2); !more.empty(); more = receive(*crm, 2)) {
        std::ranges::copy(data(more), std::back_inserter(rest));
        acknowledge(*crm, more.back());
        // Again, which changes nothing.
        acknowledge(*crm, more.back());
    }

    EXPECT_EQ(rest, numbers(3, 7));
    EXPECT_EQ(broker_->lag("").value().front().events, 0U);
}

TEST_P(DirectBrokerTest, KeepsToTheBoundsOfACall) {
    const auto crm = join("crm");
    append(9);
    const auto first = receive(*crm, 4);
    EXPECT_THAT(first, SizeIs(4));
    EXPECT_THAT(receive(*crm, 4), IsEmpty()) << "until they are acknowledged";
    acknowledge(*crm, first.back());
    EXPECT_THAT(receive(*crm, 4, 2), SizeIs(2));
    EXPECT_THAT(receive(*crm, 4, 0), SizeIs(1));
}

TEST_P(DirectBrokerTest, RefusesToAcknowledgeWhatItHasNotDelivered) {
    const auto crm = join("crm");
    append(3);
    const auto deliveries = receive(*crm, 2);
    const auto done = crm->acknowledge(0, deliveries.back().position + (Position{1} << 40U));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, ErrorCode::kInvalidArgument);
}

TEST_P(DirectBrokerTest, SeeksBackToWhatIsAcknowledged) {
    const auto crm = join("crm");
    append(4);
    const auto deliveries = receive(*crm);
    acknowledge(*crm, deliveries[1]);

    ASSERT_TRUE(crm->seek(0, deliveries[1].position));

    EXPECT_EQ(data(receive(*crm)), numbers(3, 4));
    EXPECT_EQ(crm->seek(0, deliveries[0].position).error().code, ErrorCode::kUnsupported);
}

TEST_P(DirectBrokerTest, StartsANewSubscriptionWhereItIsAskedTo) {
    append(3);
    const auto all = join("all");
    const auto later = join("later", "a", StartAt::kLatest);
    append(2);

    EXPECT_EQ(data(receive(*later)), numbers(4, 5));
    EXPECT_EQ(data(receive(*all)), numbers(1, 5));
}

TEST_P(DirectBrokerTest, KeepsEventsForASubscriptionThatNobodyReads) {
    join("crm", "a", StartAt::kLatest).reset();
    append(3);
    system_.clock.advance(48h);
    {
        auto transaction = Transaction::begin(*system_.owner, TransactionMode::kWrite).value();
        ASSERT_TRUE(trim_log(transaction, system_.clock.now() + 1000h, 1000));
        ASSERT_TRUE(transaction.commit());
    }
    EXPECT_EQ(data(receive(*join("crm", "b", StartAt::kLatest))), numbers(1, 3));
}

TEST_P(DirectBrokerTest, ReadsItsTopicOnlyAndStillLetsTheLogGo) {
    const auto crm = join("crm");
    append(1500, "iam.role");
    EXPECT_THAT(receive(*crm), IsEmpty());
    EXPECT_THAT(receive(*crm), IsEmpty());
    append(1);
    const auto deliveries = receive(*crm);
    EXPECT_EQ(data(deliveries), numbers(1501, 1501));
    acknowledge(*crm, deliveries.back());
    EXPECT_THAT(receive(*crm), IsEmpty());
    EXPECT_EQ(broker_->lag("iam.user").value().front().events, 0U);
    // Nothing of the log is kept for this subscription any more.
    EXPECT_EQ(log_lag(*system_.owner, "direct/iam.user/crm").value().events, 0U);
}

TEST_P(DirectBrokerTest, LetsOneMemberReadAtATime) {
    auto first = join("crm", "a");
    append(4);
    const auto deliveries = receive(*first);
    acknowledge(*first, deliveries[1]);
    const auto second = join("crm", "b");
    EXPECT_THAT(second->assignments().value(), IsEmpty());
    EXPECT_THAT(receive(*second), IsEmpty());

    first.reset();

    EXPECT_EQ(data(receive(*second)), numbers(3, 4));
}

TEST_P(DirectBrokerTest, FencesAMemberThatWasReplaced) {
    const auto first = join("crm", "a");
    append(2);
    const auto deliveries = receive(*first);
    run_sql(*system_.owner, "UPDATE instep_lease SET until_us = 0");
    const auto second = join("crm", "b");
    EXPECT_EQ(data(receive(*second)), numbers(1, 2));

    const auto late = first->acknowledge(0, deliveries.back().position);

    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::kFenced);
    EXPECT_THAT(first->assignments().value(), IsEmpty());
}

TEST_P(DirectBrokerTest, PutsAChunkBehindEverythingThatItHolds) {
    const auto crm = join("crm");
    append(3);
    chunks_asked_ = 2;
    const auto deliveries = receive(*crm);
    EXPECT_THAT(data(deliveries), ElementsAre("1", "2", "3", "chunk"));
    EXPECT_GT(deliveries[3].event.version, deliveries[2].event.version);
    EXPECT_GT(deliveries[3].position, deliveries[2].position);
    acknowledge(*crm, deliveries[2]);
    EXPECT_EQ(chunks_asked_, 2);
    acknowledge(*crm, deliveries[3]);
    EXPECT_EQ(chunks_asked_, 1);

    append(1);
    const auto more = receive(*crm);
    EXPECT_THAT(data(more), ElementsAre("4", "chunk"));
    EXPECT_GT(more[0].event.version, deliveries[3].event.version);
    EXPECT_GT(more[0].position, deliveries[3].position);
    acknowledge(*crm, more[1]);
    EXPECT_THAT(receive(*crm), IsEmpty());
}

TEST_P(DirectBrokerTest, DrainsABacklogOfAHundredThousand) {
    for (int i = 0; i < 100; ++i) {
        append(1000);
    }
    const auto crm = join("crm");
    int seen = 0;
    for (auto more = receive(*crm); !more.empty(); more = receive(*crm)) {
        ASSERT_LE(more.size(), 1000U);
        for (const Delivery& delivery : more) {
            ASSERT_EQ(delivery.event.data, fmt::to_string(++seen));
        }
        acknowledge(*crm, more.back());
    }
    EXPECT_EQ(seen, 100'000);
}

TEST_P(DirectBrokerTest, BeginsAnEpochWhereTheLogCannotHaveWrittenWhatWasTaken) {
    auto crm = join("crm");
    append(3);
    const auto deliveries = receive(*crm);
    acknowledge(*crm, deliveries.back());
    crm.reset();
    const Event& last = deliveries.back().event;
    taken_["crm"] = {last.incarnation, last.version};
    crm = join("crm", "b");
    EXPECT_THAT(receive(*crm), IsEmpty()) << "the log is where it should be";

    crm.reset();
    taken_["crm"].version.batch += 1000;
    crm = join("crm", "c");
    auto told = receive(*crm);
    ASSERT_THAT(told, SizeIs(1));
    EXPECT_EQ(told[0].event.type, "log.epoch_begun");
    EXPECT_EQ(told[0].event.version.epoch, 2U);
    acknowledge(*crm, told[0]);
    EXPECT_EQ(value_of(*system_.owner,
                       "SELECT count(*) FROM instep_log WHERE type = "
                       "'log.epoch_begun' AND topic = 'iam.role'"),
              "1");
}

TEST_P(DirectBrokerTest, AppendsWhatGoesToOthersOnce) {
    const auto publisher = broker_->publisher().value();
    Event request;
    request.id = "r1";
    request.source = "crm";
    request.key = "crm";
    request.type = "scan.requested";
    request.data = "{}";
    const std::vector<Event> events{request};
    ASSERT_TRUE(publisher->declare_topic("iam.requests", 1));
    for (int i = 0; i < 2; ++i) {
        const auto outcome = publisher->publish({"iam.requests", 0, events, 1});
        EXPECT_EQ(outcome.durable, 1U);
        EXPECT_FALSE(outcome.failure);
    }
    EXPECT_EQ(value_of(*system_.owner, "SELECT count(*) FROM instep_log"), "1");
    // What is for its own topics is in its log already.
    EXPECT_EQ(publisher->publish({"crm.note", 0, events, 1}).durable, 1U);
    const auto lost = publisher->publish({"shop.requests", 0, events, 1});
    EXPECT_EQ(lost.durable, 0U);
    EXPECT_EQ(lost.failure.value().code, ErrorCode::kNotFound);
}

TEST_P(DirectBrokerTest, RefusesATopicWhoseOwnerIsNotKnown) {
    SubscribeOptions options;
    options.subscription = "crm";
    options.topic = "shop.order";
    options.member = "a";
    EXPECT_EQ(broker_->subscribe(options).error().code, ErrorCode::kNotFound);
}

TEST_P(DirectBrokerTest, EndsAReaderWhoseCursorWasTakenAway) {
    const auto crm = join("crm");
    append(2);
    const auto deliveries = receive(*crm);
    {
        auto transaction = Transaction::begin(*system_.owner, TransactionMode::kWrite).value();
        ASSERT_TRUE(remove_readers(transaction, kDirectReaderPrefix));
        ASSERT_TRUE(transaction.commit());
    }
    EXPECT_FALSE(crm->acknowledge(0, deliveries.back().position));
    EXPECT_TRUE(crm->assignments());
    EXPECT_FALSE(crm->receive(10, kUnbounded));
}

TEST_P(DirectBrokerTest, GoesBackInTheLog) {
    auto crm = join("crm");
    append(2, "iam.role");
    append(4);
    const auto deliveries = receive(*crm);
    acknowledge(*crm, deliveries.back());
    EXPECT_EQ(crm->rewind(0, deliveries.back().position + 1).error().code,
              ErrorCode::kInvalidArgument);
    const auto kept = broker_->kept("iam.user").value();
    ASSERT_THAT(kept, SizeIs(1));
    EXPECT_LE(kept[0].newest, deliveries.back().position);
    EXPECT_FALSE(kept[0].is_trimmed);
    const auto moved = crm->rewind(0, kept[0].before);
    ASSERT_TRUE(moved) << moved.error().message;
    EXPECT_EQ(broker_->lag("iam.user")->front().events, 4U);
    EXPECT_EQ(broker_->lag("iam.user")->front().acknowledged, kept[0].before);
    const auto again = receive(*crm);
    EXPECT_EQ(data(again), numbers(3, 6));
    EXPECT_EQ(again.back().position, kept[0].newest);
    EXPECT_EQ(again[0].position == deliveries[0].position, GetParam() == Home::kSqlite);
    acknowledge(*crm, again[1]);
    crm.reset();
    reopen();
    crm = join("crm", "b");
    const auto rest = receive(*crm);
    EXPECT_EQ(data(rest), numbers(5, 6)) << "the place is the subscription's";
    EXPECT_EQ(rest.back().position, kept[0].newest);
}

TEST_P(DirectBrokerTest, GoesOnWhereItStoodOnceThePastIsOver) {
    auto crm = join("crm");
    append(4);
    const auto deliveries = receive(*crm, 3);
    acknowledge(*crm, deliveries.back());
    crm.reset();
    crm = join("crm", "b");
    append(2);
    ASSERT_TRUE(crm->rewind(0, broker_->kept("iam.user")->front().before));
    auto again = receive(*crm);
    EXPECT_EQ(data(again).front(), "1");
    std::vector<std::string> all;
    std::vector<Position> positions;
    std::vector<Version> versions;
    while (!again.empty()) {
        for (const Delivery& delivery : again) {
            all.push_back(delivery.event.data);
            positions.push_back(delivery.position);
            versions.push_back(delivery.event.version);
        }
        acknowledge(*crm, again.back());
        again = receive(*crm);
    }
    EXPECT_EQ(all, numbers(1, 6)) << "each once, and in order";
    EXPECT_TRUE(std::ranges::is_sorted(positions, std::ranges::less_equal()));
    EXPECT_TRUE(std::ranges::is_sorted(versions)) << "what is new is newer than what came again";
    EXPECT_EQ(broker_->lag("iam.user")->front().events, 0U);
}

TEST_P(DirectBrokerTest, GoesBackInPages) {
    auto crm = join("crm");
    append(3);
    append(5, "iam.role");
    append(4);
    auto deliveries = receive(*crm);
    acknowledge(*crm, deliveries.back());
    ASSERT_TRUE(crm->rewind(0, broker_->kept("iam.user")->front().before));
    std::vector<std::string> all;
    while (all.size() < 7) {
        deliveries = receive(*crm, 2);
        ASSERT_FALSE(deliveries.empty());
        std::ranges::copy(data(deliveries), std::back_inserter(all));
        acknowledge(*crm, deliveries.back());
    }
    auto wanted = numbers(1, 3);
    std::ranges::copy(numbers(9, 12), std::back_inserter(wanted));
    EXPECT_EQ(all, wanted);
    EXPECT_THAT(receive(*crm, 2), IsEmpty());
}

TEST_P(DirectBrokerTest, ComesBackOutOfThePastOnlyThroughAllOfIt) {
    auto crm = join("crm");
    append(4);
    auto deliveries = receive(*crm);
    acknowledge(*crm, deliveries.back());
    const Position before = broker_->kept("iam.user")->front().before;
    ASSERT_TRUE(crm->rewind(0, before));
    deliveries = receive(*crm);
    acknowledge(*crm, deliveries[1]);
    // As after a crash of a consumer that does not know how far it got.
    ASSERT_TRUE(crm->rewind(0, deliveries[0].position));
    EXPECT_EQ(data(receive(*crm)), numbers(2, 4));
}

TEST_P(DirectBrokerTest, GoesBackToWhatIsLeftOfTheLogAndKeepsIt) {
    if (GetParam() == Home::kPostgres) {
        return;  // Whole partitions go there: LogPartitionsTest.
    }
    auto crm = join("crm");
    append(4);
    auto deliveries = receive(*crm);
    acknowledge(*crm, deliveries.back());
    const auto trim = [&] {
        auto transaction = Transaction::begin(*system_.owner, TransactionMode::kWrite).value();
        const auto rows = trim_log(transaction, system_.clock.now() + 1h, 2).value();
        EXPECT_TRUE(transaction.commit());
        return rows;
    };
    EXPECT_EQ(trim(), 2U);
    EXPECT_EQ(crm->rewind(0, 0).error().code, ErrorCode::kNotFound);
    const auto kept = broker_->kept("iam.user").value();
    EXPECT_TRUE(kept[0].is_trimmed);
    ASSERT_TRUE(crm->rewind(0, kept[0].before));
    EXPECT_EQ(trim(), 0U) << "what is to be read again is kept";
    deliveries = receive(*crm);
    EXPECT_EQ(data(deliveries), numbers(3, 4));
    acknowledge(*crm, deliveries.back());
    EXPECT_EQ(trim(), 2U);
    EXPECT_EQ(broker_->kept("iam.user")->front().before, deliveries.back().position);
}

/// Where a cursor moves before the next page is read.
using DirectAnswerTest = DirectBrokerTest;

TEST_P(DirectAnswerTest, KnowsWhatIsAcknowledgedAlsoIfTheAnswerWasLost) {
    const auto crm = join("crm");
    append(2);
    const auto deliveries = receive(*crm);
    run_sql(*system_.owner, "ALTER TABLE instep_log RENAME TO instep_log_away");
    EXPECT_FALSE(crm->acknowledge(0, deliveries.back().position));
    run_sql(*system_.owner, "ALTER TABLE instep_log_away RENAME TO instep_log");

    acknowledge(*crm, deliveries.back());

    append(1);
    EXPECT_EQ(data(receive(*crm)), numbers(3, 3));
}

INSTANTIATE_TEST_SUITE_P(Homes, DirectAnswerTest, testing::Values(Home::kSqlite),
                         [](const auto& /*home*/) { return "sqlite"; });
INSTANTIATE_TEST_SUITE_P(Homes, DirectBrokerTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         [](const auto& home) {
                             return home.param == Home::kSqlite ? "sqlite" : "postgres";
                         });

}  // namespace
}  // namespace instep
