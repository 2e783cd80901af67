#include "tests/conformance/broker_conformance.hpp"

#include "tests/support/eventually.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace instep::test {

namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAreArray;

constexpr std::size_t kUnbounded = 1 << 30;

ErrorCode code(const auto& result) { return result.error().code; }

}  // namespace

TEST_P(BrokerConformance, DeliversAPartitionInPublishingOrder) {
    given_topic(1);
    const auto events = new_events(3000);
    const auto publisher = make_publisher();
    for (std::size_t i = 0; i < events.size(); i += 100) {
        publish_by(*publisher, 0, std::span(events).subspan(i, 100));
    }

    const auto subscriber = join("billing", "a");
    const auto deliveries = drain(*subscriber, events.size());

    EXPECT_EQ(ids(deliveries), ids(events));
    EXPECT_TRUE(std::ranges::is_sorted(deliveries, std::less(), &Delivery::position));
}

TEST_P(BrokerConformance, GivesEverySubscriptionEveryEvent) {
    given_topic(1);
    const auto billing = join("billing", "a");
    const auto shipping = join("shipping", "a");

    const auto events = new_events(5);
    publish(0, events);

    EXPECT_EQ(ids(collect(*billing, 5)), ids(events));
    EXPECT_EQ(ids(collect(*shipping, 5)), ids(events));
}

TEST_P(BrokerConformance, KeepsEveryAttributeOfTheEnvelope) {
    given_topic(1);
    auto events = new_events(2);
    Event& full = events[1];
    full.version = {.epoch = 4'000'000'000, .batch = 1ULL << 60, .index = kChunkIndex};
    full.incarnation = 0xFEDC'BA98'7654'3210;
    full.operation = Operation::kUpsert;
    full.stream = "order-1";
    full.stream_version = 12;
    full.content_type = "text/plain";
    full.schema = "https://schemas.example/order/2";
    full.correlation_id = "request 1";
    full.causation_id = "e1";
    full.trace_parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    full.extensions = {{"zone", "eu \"west\" \\ 1"}, {"author", "Zoë"}};
    publish(0, events);

    const auto deliveries = collect(*join("billing", "a"), 2);

    EXPECT_EQ(deliveries[0].event, events[0]);
    EXPECT_EQ(deliveries[1].event, events[1]);
}

TEST_P(BrokerConformance, CarriesPayloadsOfEverySize) {
    given_topic(1);
    auto events = new_events(4);
    events[0].data = "";
    events[1].data = std::string(1024, 'x');
    events[2].data = std::string(1024 * 1024, 'y');
    for (int byte = 0; byte < 256; ++byte) {
        events[3].data += static_cast<char>(byte);
    }
    events[3].content_type = "application/octet-stream";
    std::erase_if(events, [&](const Event& event) {
        return event.data.size() > broker().features().event_bytes_max / 2;
    });
    publish(0, events);

    const auto deliveries = collect(*join("billing", "a"), events.size());

    for (std::size_t i = 0; i < events.size(); ++i) {
        EXPECT_TRUE(deliveries[i].event.data == events[i].data) << i;
    }
}

TEST_P(BrokerConformance, RefusesAnOversizedEventAndKeepsThoseBeforeIt) {
    given_topic(1);
    auto events = new_events(4);
    events[2].data = std::string(broker().features().event_bytes_max + 1, 'x');

    const auto outcome = make_publisher()->publish(
        {.topic = topic(), .partition = 0, .events = events, .fencing_epoch = 0});

    EXPECT_EQ(outcome.durable, 2U);
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kLimitExceeded);
    const auto subscriber = join("billing", "a");
    EXPECT_THAT(ids(collect(*subscriber, 2)), ElementsAre("e1", "e2"));
    EXPECT_THAT(collect_rest(*subscriber), IsEmpty());
}

TEST_P(BrokerConformance, RefusesAnEventWithoutAnId) {
    given_topic(1);
    auto events = new_events(2);
    events[1].id = "";

    const auto outcome = make_publisher()->publish(
        {.topic = topic(), .partition = 0, .events = events, .fencing_epoch = 0});

    EXPECT_EQ(outcome.durable, 1U);
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kRejected);
}

TEST_P(BrokerConformance, AcceptsKeysAndNamesOfAnyText) {
    given_topic(1);
    auto events = new_events(3);
    events[0].key = "it's \"quoted\"; DROP TABLE x; --";
    events[1].key = "Zoë Müller 测试 🙂";
    events[2].key = "a b/c:d*{}%$1";
    const auto subscriber = join("bill'ing \"Zoë\" ; 🙂", "mem'ber 测试");
    publish(0, events);

    const auto deliveries = collect(*subscriber, 3);

    for (std::size_t i = 0; i < events.size(); ++i) {
        EXPECT_EQ(deliveries[i].event.key, events[i].key);
    }
    acknowledge(*subscriber, deliveries);
    EXPECT_THAT(collect_rest(*subscriber), IsEmpty());
}

TEST_P(BrokerConformance, KeepsTenThousandKeysInOrder) {
    constexpr std::uint32_t kPartitions = 8;
    constexpr std::uint64_t kKeys = 10'000;
    given_topic(kPartitions);
    std::vector<std::vector<Event>> partitions(kPartitions);
    auto events = new_events(2 * kKeys);
    for (std::size_t i = 0; i < events.size(); ++i) {
        events[i].key = "order-" + std::to_string(i % kKeys);
        partitions[i % kKeys % kPartitions].push_back(events[i]);
    }
    const auto publisher = make_publisher();
    for (std::uint32_t partition = 0; partition < kPartitions; ++partition) {
        publish_by(*publisher, partition, partitions[partition]);
    }

    const auto deliveries = drain(*join("billing", "a"), events.size());

    std::map<std::string, std::vector<std::uint64_t>> batches;
    for (const Delivery& delivery : deliveries) {
        batches[delivery.event.key].push_back(delivery.event.version.batch);
    }
    EXPECT_THAT(batches, SizeIs(kKeys));
    for (const auto& [key, in_key] : batches) {
        EXPECT_EQ(in_key.size(), 2U) << key;
        EXPECT_LT(in_key.front(), in_key.back()) << key;
    }
}

TEST_P(BrokerConformance, DeclaresATopicAgainButNotWithOtherPartitions) {
    given_topic(3);
    const auto publisher = make_publisher();

    EXPECT_TRUE(publisher->declare_topic(topic(), 3));

    const auto other = publisher->declare_topic(topic(), 4);
    ASSERT_FALSE(other);
    EXPECT_EQ(code(other), ErrorCode::kConflict);
}

TEST_P(BrokerConformance, WaitsForATopicThatDoesNotExistYet) {
    const auto subscriber = join("billing", "a");
    EXPECT_THAT(subscriber->assignments().value(), IsEmpty());

    given_topic(1);
    const auto events = new_events(3);
    publish(0, events);

    EXPECT_EQ(ids(collect(*subscriber, 3)), ids(events));
}

TEST_P(BrokerConformance, StartsANewSubscriptionAtTheEarliestEvent) {
    given_topic(1);
    const auto events = new_events(3);
    publish(0, events);
    if (!broker().features().replays) {
        GTEST_SKIP() << "keeps no past";
    }

    EXPECT_EQ(ids(collect(*join("billing", "a", StartAt::kEarliest), 3)), ids(events));
}

TEST_P(BrokerConformance, StartsANewSubscriptionBehindTheLatestEvent) {
    given_topic(1);
    publish(0, new_events(3));
    const auto subscriber = join("shipping", "a", StartAt::kLatest);

    const auto later = new_events(2);
    publish(0, later);

    EXPECT_EQ(ids(collect(*subscriber, 2)), ids(later));
}

TEST_P(BrokerConformance, KeepsEventsForASubscriptionWithoutMembers) {
    given_topic(1);
    join("billing", "a", StartAt::kLatest).reset();

    const auto events = new_events(3);
    publish(0, events);

    EXPECT_EQ(ids(collect(*join("billing", "b", StartAt::kLatest), 3)), ids(events));
}

TEST_P(BrokerConformance, SharesThePartitionsAmongTheMembers) {
    given_topic(4);
    const auto a = join("billing", "a");
    const auto b = join("billing", "b");
    await_shares({a.get(), b.get()}, {2, 2});
    const auto events = new_events(4);
    for (std::uint32_t partition = 0; partition < 4; ++partition) {
        publish(partition, std::span(events).subspan(partition, 1));
    }

    auto all = ids(collect(*a, 2));
    std::ranges::copy(ids(collect(*b, 2)), std::back_inserter(all));

    EXPECT_THAT(all, UnorderedElementsAreArray(ids(events)));
}

TEST_P(BrokerConformance, HandsAPartitionOverOnlyWhenItIsDrained) {
    given_topic(2);
    const auto a = join("billing", "a");
    await_shares({a.get()}, {2});
    const auto events = new_events(2);
    publish(0, std::span(events).first(1));
    publish(1, std::span(events).last(1));
    const auto held = collect(*a, 2);

    const auto b = join("billing", "b");
    EXPECT_THAT(b->assignments().value(), IsEmpty());
    EXPECT_THAT(a->assignments().value(), SizeIs(2));
    EXPECT_THAT(b->assignments().value(), IsEmpty());

    acknowledge(*a, held);
    await_shares({a.get(), b.get()}, {1, 1});
    EXPECT_THAT(collect_rest(*b), IsEmpty());
}

TEST_P(BrokerConformance, GivesBackThePartitionsOfAMemberThatLeft) {
    given_topic(2);
    const auto a = join("billing", "a");
    auto b = join("billing", "b");
    await_shares({a.get(), b.get()}, {1, 1});

    b.reset();

    await_shares({a.get()}, {2});
}

TEST_P(BrokerConformance, TakesOverFromASilentMember) {
    given_topic(1);
    const auto silent = join("billing", "silent");
    const auto events = new_events(3);
    publish(0, events);
    const auto delivered = collect(*silent, 3);
    acknowledge(*silent, std::span(delivered).first(1));
    const auto successor = join("billing", "successor");
    EXPECT_THAT(successor->assignments().value(), IsEmpty());

    backend().let_pass(backend().member_timeout() + 1s);

    EXPECT_THAT(ids(collect(*successor, 2)), ElementsAre("e2", "e3"));
}

TEST_P(BrokerConformance, FencesAMemberThatLostItsPartition) {
    given_topic(1);
    const auto silent = join("billing", "silent");
    const auto events = new_events(1);
    publish(0, events);
    const auto delivered = collect(*silent, 1);
    const std::uint64_t epoch = silent->assignments().value().front().epoch;
    const auto successor = join("billing", "successor");
    backend().let_pass(backend().member_timeout() + 1s);
    await_shares({successor.get()}, {1});

    const auto acknowledged = silent->acknowledge(0, delivered.front().position);

    ASSERT_FALSE(acknowledged);
    EXPECT_EQ(code(acknowledged), ErrorCode::kFenced);
    const auto sought = silent->seek(0, delivered.front().position);
    ASSERT_FALSE(sought);
    EXPECT_EQ(code(sought), ErrorCode::kFenced);
    EXPECT_GT(successor->assignments().value().front().epoch, epoch);
    EXPECT_EQ(ids(collect(*successor, 1)), ids(events));
}

TEST_P(BrokerConformance, DeliversAgainWhatWasNotAcknowledged) {
    given_topic(1);
    const auto events = new_events(10);
    publish(0, events);
    auto subscriber = join("billing", "a");
    const auto delivered = collect(*subscriber, 10);
    acknowledge(*subscriber, std::span(delivered).first(4));

    subscriber.reset();
    subscriber = join("billing", "a");

    EXPECT_EQ(ids(collect(*subscriber, 6)), ids(std::span(events).subspan(4)));
}

TEST_P(BrokerConformance, DoesNotDeliverAcknowledgedEventsAgain) {
    given_topic(1);
    publish(0, new_events(10));
    auto subscriber = join("billing", "a");
    const auto deliveries = collect(*subscriber, 10);
    for (const Delivery& delivery : deliveries) {
        ASSERT_TRUE(subscriber->acknowledge(0, delivery.position));
    }
    EXPECT_TRUE(subscriber->acknowledge(0, deliveries.back().position));

    subscriber.reset();
    subscriber = join("billing", "a");

    EXPECT_THAT(collect_rest(*subscriber), IsEmpty());
}

TEST_P(BrokerConformance, SeeksBackToAnEventItDelivered) {
    given_topic(1);
    const auto events = new_events(5);
    publish(0, events);
    const auto subscriber = join("billing", "a");
    const auto first = collect(*subscriber, 5);
    acknowledge(*subscriber, std::span(first).first(2));

    ASSERT_TRUE(subscriber->seek(0, first[1].position));

    const auto again = collect(*subscriber, 3);
    EXPECT_EQ(ids(again), ids(std::span(events).subspan(2)));
    acknowledge(*subscriber, again);
    EXPECT_THAT(collect_rest(*subscriber), IsEmpty());
}

TEST_P(BrokerConformance, HoldsNothingBackFromWhoAcknowledgesLate) {
    given_topic(1);
    const auto subscriber = join_to_acknowledge_late("billing", "a");
    collect_rest(*subscriber);
    const auto events = new_events(1500);
    publish(0, events);
    const auto deliveries = collect(*subscriber, events.size());
    EXPECT_EQ(ids(deliveries), ids(events));
    acknowledge(*subscriber, deliveries);
    EXPECT_THAT(collect_rest(*subscriber), IsEmpty());
}

TEST_P(BrokerConformance, BoundsWhatOneReceiveReturnsByEvents) {
    given_topic(1);
    const auto subscriber = join("billing", "a");
    collect_rest(*subscriber);
    const auto events = new_events(10);
    publish(0, events);

    std::vector<std::string> received;
    EXPECT_TRUE(eventually([&] {
        EXPECT_TRUE(subscriber->assignments());
        const auto some = ids(subscriber->receive(3, kUnbounded).value());
        EXPECT_LE(some.size(), 3U);
        std::ranges::copy(some, std::back_inserter(received));
        return received.size() >= events.size();
    }));

    EXPECT_EQ(received, ids(events));
}

TEST_P(BrokerConformance, BoundsWhatOneReceiveReturnsByBytesBeyondTheFirstEvent) {
    given_topic(1);
    const auto subscriber = join("billing", "a");
    collect_rest(*subscriber);
    auto events = new_events(6);
    for (Event& event : events) {
        event.data = std::string(10'000, 'x');
    }
    publish(0, events);

    std::vector<std::string> received;
    EXPECT_TRUE(eventually([&] {
        EXPECT_TRUE(subscriber->assignments());
        const bool takes_one = received.empty();
        const auto some = ids(subscriber->receive(100, takes_one ? 1 : 25'000).value());
        EXPECT_LE(some.size(), takes_one ? 1U : 2U);
        std::ranges::copy(some, std::back_inserter(received));
        return received.size() >= events.size();
    }));

    EXPECT_EQ(received, ids(events));
}

TEST_P(BrokerConformance, EndsAWaitWhenAnotherConnectionPublishes) {
    given_topic(1);
    const auto subscriber = join("billing", "a");
    await_shares({subscriber.get()}, {1});
    collect_rest(*subscriber);
    const auto events = new_events(1);
    const auto other = backend().connect();
    std::jthread publishes([&] {
        other->publisher().value()->publish(
            {.topic = topic(), .partition = 0, .events = events, .fencing_epoch = 0});
    });

    std::vector<Delivery> deliveries;
    while (deliveries.empty()) {
        ASSERT_TRUE(subscriber->assignments());
        subscriber->wait({}, 1h);
        deliveries = subscriber->receive(10, kUnbounded).value();
    }

    EXPECT_EQ(ids(deliveries), ids(events));
}

TEST_P(BrokerConformance, EndsAWaitOnStop) {
    given_topic(1);
    const auto subscriber = join("billing", "a");
    await_shares({subscriber.get()}, {1});
    std::stop_source stop;
    std::jthread stops([&] { stop.request_stop(); });

    subscriber->wait(stop.get_token(), 1h);

    EXPECT_TRUE(stop.stop_requested());
}

TEST_P(BrokerConformance, RefusesAPublisherThatANewerOneReplaced) {
    if (!broker().features().fences_publishers) {
        GTEST_SKIP() << "fences no publishers";
    }
    given_topic(1);
    const auto events = new_events(4);
    const auto publish_as = [&](std::uint64_t epoch, std::size_t event) {
        return make_publisher()->publish({.topic = topic(),
                                          .partition = 0,
                                          .events = std::span(events).subspan(event, 1),
                                          .fencing_epoch = epoch});
    };
    EXPECT_EQ(publish_as(5, 0).durable, 1U);
    EXPECT_EQ(publish_as(6, 1).durable, 1U);

    const auto outcome = publish_as(5, 2);

    EXPECT_EQ(outcome.durable, 0U);
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kFenced);
    EXPECT_EQ(publish_as(6, 3).durable, 1U);
    EXPECT_THAT(ids(collect(*join("billing", "a"), 3)), ElementsAre("e1", "e2", "e4"));
}

TEST_P(BrokerConformance, RemembersTheLastVersionOfEachPartition) {
    if (!broker().features().remembers_last_version) {
        GTEST_SKIP() << "remembers no versions";
    }
    given_topic(2);
    publish(0, new_events(3));
    publish(0, new_events(2));

    const auto last = make_publisher()->last_published(topic(), 0, "shop").value();

    ASSERT_TRUE(last);
    EXPECT_EQ(last->incarnation, 77U);
    EXPECT_EQ(last->version, (Version{.epoch = 1, .batch = 5, .index = 0}));
    EXPECT_FALSE(make_publisher()->last_published(topic(), 1, "shop").value());
    EXPECT_FALSE(make_publisher()->last_published(topic(), 0, "iam").value());
}

TEST_P(BrokerConformance, LosesNothingOfPublishersAtTheSameTime) {
    constexpr std::size_t kPublishers = 4;
    constexpr std::size_t kEvents = 500;
    given_topic(1);
    std::vector<std::vector<Event>> events;
    for (std::size_t i = 0; i < kPublishers; ++i) {
        events.push_back(new_events(kEvents));
        for (Event& event : events.back()) {
            event.source = "shop-" + std::to_string(i);
        }
    }
    {
        std::vector<std::jthread> threads;
        for (const auto& mine : events) {
            threads.emplace_back([this, &mine] {
                for (std::size_t i = 0; i < kEvents; i += 25) {
                    publish(0, std::span(mine).subspan(i, 25));
                }
            });
        }
    }

    const auto deliveries = drain(*join("billing", "a"), kPublishers * kEvents);

    std::map<std::string, std::vector<std::string>> by_source;
    for (const Delivery& delivery : deliveries) {
        by_source[delivery.event.source].push_back(delivery.event.id);
    }
    for (const auto& mine : events) {
        EXPECT_EQ(by_source[mine.front().source], ids(mine));
    }
}

TEST_P(BrokerConformance, KeepsEverythingWhenItIsOpenedAgain) {
    given_topic(1);
    const auto events = new_events(5);
    publish(0, events);
    {
        const auto subscriber = join("billing", "a");
        const auto delivered = collect(*subscriber, 5);
        acknowledge(*subscriber, std::span(delivered).first(2));
    }

    reopen_broker();

    EXPECT_EQ(ids(collect(*join("billing", "a"), 3)), ids(std::span(events).subspan(2)));
}

TEST_P(BrokerConformance, ConnectsTwoProcesses) {
    constexpr std::size_t kBatches = 50;
    const auto events = new_events(kBatches * 20);
    given_subscription("billing");
    const pid_t child = fork();
    ASSERT_NE(child, -1);
    if (child == 0) {
        const auto connection = backend().connect();
        const auto publisher = connection->publisher().value();
        bool published = publisher->declare_topic(topic(), 1).has_value();
        for (std::size_t i = 0; i < kBatches; ++i) {
            published &= !publisher
                              ->publish({.topic = topic(),
                                         .partition = 0,
                                         .events = std::span(events).subspan(i * 20, 20),
                                         .fencing_epoch = 0})
                              .failure;
        }
        _exit(published ? 0 : 1);
    }

    EXPECT_EQ(ids(collect(*join("billing", "a"), events.size())), ids(events));

    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

TEST_P(BrokerConformance, DrainsABacklogOfAMillion) {
    constexpr std::size_t kBatch = 1000;
    constexpr std::size_t kEvents = 1000 * kBatch;
    auto events = new_events(kBatch);
    given_topic(1);
    const auto publisher = make_publisher();
    for (std::size_t i = 0; i < kEvents; i += kBatch) {
        for (std::size_t k = 0; k < kBatch; ++k) {
            events[k].id = std::to_string(i + k);
            events[k].key = "order-" + std::to_string(k);
        }
        publish_by(*publisher, 0, events);
    }
    const auto subscriber = join("billing", "a");

    std::size_t received = 0;
    while (received < kEvents) {
        const auto deliveries = collect(*subscriber, 1);
        ASSERT_THAT(deliveries, ::testing::Not(IsEmpty()));
        for (const Delivery& delivery : deliveries) {
            ASSERT_EQ(delivery.event.id, std::to_string(received));
            ++received;
        }
        ASSERT_TRUE(subscriber->acknowledge(0, deliveries.back().position));
    }

    EXPECT_THAT(collect_rest(*subscriber), IsEmpty());
}

TEST_P(BrokerConformance, DeliversAMessageThatIsNoEventAsMalformed) {
    given_topic(1);
    const auto events = new_events(2);
    publish(0, std::span(events).first(1));
    backend().publish_junk(topic(), 0, "from another program");
    publish(0, std::span(events).last(1));

    const auto subscriber = join("billing", "a");
    const auto deliveries = collect(*subscriber, 3);

    EXPECT_FALSE(deliveries[0].malformed);
    EXPECT_TRUE(deliveries[1].malformed);
    EXPECT_EQ(deliveries[1].event.data, "from another program");
    EXPECT_FALSE(deliveries[2].malformed);
    EXPECT_EQ(deliveries[2].event, events[1]);
    acknowledge(*subscriber, deliveries);
}

TEST_P(BrokerConformance, TrimsNothingThatASubscriptionStillNeeds) {
    given_topic(1);
    given_subscription("fast");
    given_subscription("slow");
    const auto events = new_events(6);
    publish(0, events);
    auto fast = join("fast", "a");
    auto slow = join("slow", "a");
    acknowledge(*fast, collect(*fast, 6));
    const auto delivered = collect(*slow, 6);
    acknowledge(*slow, std::span(delivered).first(2));
    backend().let_pass(2s);

    ASSERT_TRUE(broker().trim(backend().now()));

    slow.reset();
    slow = join("slow", "a");
    EXPECT_EQ(ids(collect(*slow, 4)), ids(std::span(events).subspan(2)));
}

TEST_P(BrokerConformance, CountsWhatASubscriptionHasNotAcknowledged) {
    given_topic(2);
    const auto subscriber = join("billing", "a");
    auto events = new_events(5);
    for (Event& event : events) {
        event.time += std::chrono::seconds(event.version.batch);
    }
    publish(1, events);
    const auto deliveries = collect(*subscriber, 5);
    acknowledge(*subscriber, std::span(deliveries).first(2));

    auto lags = broker().lag(topic()).value();

    std::ranges::sort(lags, {}, &SubscriptionLag::partition);
    ASSERT_THAT(lags, SizeIs(2));
    EXPECT_EQ(lags[0].events, 0U);
    EXPECT_FALSE(lags[0].oldest);
    EXPECT_EQ(lags[1].subscription, backend().own_name("billing"));
    EXPECT_EQ(lags[1].topic, topic());
    EXPECT_EQ(lags[1].acknowledged, deliveries[1].position);
    EXPECT_EQ(lags[1].newest, deliveries[4].position);
    EXPECT_EQ(lags[1].events, 3U);
    EXPECT_EQ(lags[1].oldest, events[2].time);
}

}  // namespace instep::test
