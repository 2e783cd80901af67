#include "instep/broker/redis/broker.hpp"

#include "instep/base/random.hpp"
#include "instep/event/cloudevents.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/process.hpp"
#include "tests/support/redis_server.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <sstream>
#include <thread>

namespace instep::redis {

namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr std::string_view kTopic = "shop.order";

class RedisBrokerTest : public ::testing::Test {
protected:
    Result<std::unique_ptr<Broker>> open(const std::string& url) {
        return open_redis_broker(url, clock_, random_);
    }

    /// On a server of the test's own.
    std::unique_ptr<Broker> open() { return open(server().url()).value(); }

    test::RedisServer& server() {
        if (server_ == nullptr) {
            server_ = std::make_unique<test::RedisServer>();
        }
        return *server_;
    }

    void give_server(test::RedisServer::Options options) {
        server_ = std::make_unique<test::RedisServer>(std::move(options));
    }

    std::vector<Event> new_events(std::size_t count, std::size_t bytes = 10) {
        std::vector<Event> events(count);
        for (Event& event : events) {
            ++made_;
            event.id = "e" + std::to_string(made_);
            event.source = "shop";
            event.type = "order.placed";
            event.key = "order-1";
            event.time = clock_.now();
            event.version = {.epoch = 1, .batch = made_, .index = 0};
            event.data = "\"" + std::string(bytes, 'x') + "\"";
        }
        return events;
    }

    PublishOutcome publish(Publisher& publisher, std::span<const Event> events,
                           std::uint64_t epoch = 0) {
        return publisher.publish(
            {.topic = kTopic, .partition = 0, .events = events, .fencing_epoch = epoch});
    }

    std::unique_ptr<Publisher> make_publisher(Broker& broker) {
        auto publisher = broker.publisher().value();
        EXPECT_TRUE(publisher->declare_topic(kTopic, 1));
        return publisher;
    }

    std::unique_ptr<Subscriber> join(Broker& broker, StartAt start_at = StartAt::kEarliest) {
        return broker
            .subscribe({.subscription = "billing",
                        .topic = std::string(kTopic),
                        .member = "a",
                        .start_at = start_at})
            .value();
    }

    static std::vector<Delivery> collect(Subscriber& subscriber, std::size_t count) {
        std::vector<Delivery> all;
        std::string failure;
        EXPECT_TRUE(test::eventually([&] {
            if (const auto held = subscriber.assignments(); !held) {
                failure = held.error().message;
            }
            if (auto some = subscriber.receive(500, 4 << 20)) {
                std::ranges::move(*some, std::back_inserter(all));
            } else {
                failure = some.error().message;
            }
            if (all.size() < count) {
                subscriber.wait({}, 20ms);
            }
            return all.size() >= count;
        })) << all.size()
            << " came; " << failure;
        return all;
    }

    SystemClock clock_;
    SystemRandom random_;
    std::unique_ptr<test::RedisServer> server_;
    std::uint64_t made_ = 0;
};

std::vector<std::string> ids(std::span<const Delivery> deliveries) {
    std::vector<std::string> ids;
    for (const Delivery& delivery : deliveries) {
        ids.push_back(delivery.event.id);
    }
    return ids;
}

}  // namespace

TEST_F(RedisBrokerTest, SaysWhyItCannotBeOpened) {
    server().command("ACL SETUSER ann on '>secret' '~*' +@all");
    const auto code = [&](const std::string& url) {
        const auto opened = open(url);
        return opened ? std::optional<ErrorCode>() : opened.error().code;
    };
    EXPECT_EQ(code(server().url("ann:secret")), std::nullopt);
    EXPECT_EQ(code(server().url("ann:wrong")), ErrorCode::kPermissionDenied);
    EXPECT_EQ(code(server().url() + "/99"), ErrorCode::kConfigInvalid);
    EXPECT_EQ(code("redis://"), ErrorCode::kConfigInvalid);
    EXPECT_EQ(code("rediss://127.0.0.1?ca=/none"), ErrorCode::kConfigInvalid);
    const auto wrong = open(server().url("ann:hunter2"));
    EXPECT_THAT(wrong.error().message, Not(HasSubstr("hunter2")));
    server().command("CONFIG SET requirepass secret");
    EXPECT_EQ(code(server().url()), ErrorCode::kPermissionDenied);
    EXPECT_EQ(code(server().url(":secret")), std::nullopt);
}

TEST_F(RedisBrokerTest, TellsOfRightsThatAreMissing) {
    auto own = open();
    const auto publisher = make_publisher(*own);
    server().command(
        "ACL SETUSER reader on '>secret' '~*' +@read +@connection +@scripting +@transaction");
    const auto limited = open(server().url("reader:secret")).value();

    const auto outcome = publish(*limited->publisher().value(), new_events(1));

    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kPermissionDenied) << outcome.failure->message;
    EXPECT_THAT(outcome.failure->message, HasSubstr("rights that are needed"));
    server().command("ACL SETUSER reader +acl");
    const auto findings = limited->examine().value();
    EXPECT_THAT(findings, Contains(Field(&BrokerFinding::subject, "user reader")));
}

/// They are in docs/adr/0014-redis-streams.md.
TEST_F(RedisBrokerTest, NeedsNoMoreRightsThanItSays) {
    server().command(
        "ACL SETUSER instep on '>secret' '~instep:*' +@read +@write +@scripting +@transaction "
        "+@connection "
        "+time +wait +info '+config|get' '+acl|whoami' '+acl|dryrun'");
    const auto broker = open(server().url("instep:secret")).value();
    const auto publisher = make_publisher(*broker);
    const auto subscriber = join(*broker);
    ASSERT_FALSE(publish(*publisher, new_events(2)).failure);
    const auto deliveries = collect(*subscriber, 2);
    EXPECT_TRUE(subscriber->acknowledge(0, deliveries.back().position));
    EXPECT_TRUE(publisher->last_published(kTopic, 0, "shop").value());
    EXPECT_TRUE(broker->lag(kTopic));
    EXPECT_TRUE(broker->trim(clock_.now()));

    const auto findings = broker->examine().value();

    EXPECT_TRUE(std::ranges::all_of(findings, [](const BrokerFinding& finding) {
        return finding.severity != BrokerFinding::Severity::kProblem;
    })) << findings.front().message;
}

TEST_F(RedisBrokerTest, FencesAPublisherThatANewerOneReplaced) {
    const auto broker = open();
    const auto old = make_publisher(*broker);
    const auto events = new_events(3);
    EXPECT_FALSE(publish(*old, std::span(events).first(1), 9).failure);
    EXPECT_FALSE(publish(*make_publisher(*broker), std::span(events).subspan(1, 1), 10).failure);

    const auto outcome = publish(*old, std::span(events).last(1), 9);

    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kFenced);
    EXPECT_EQ(outcome.durable, 0U);
}

TEST_F(RedisBrokerTest, AddsNothingOfAnOldPublisherBehindANewerOne) {
    const auto broker = open();
    const auto old = make_publisher(*broker);
    const auto newer = make_publisher(*broker);
    auto last = new_events(1);
    last[0].id = "of the newer";
    const auto events = new_events(4000);
    std::optional<Error> end;
    std::atomic<bool> has_begun = false;
    std::jthread publishing([&] {
        while (!end) {
            end = publish(*old, events, 1).failure;
            has_begun = true;
        }
    });
    ASSERT_TRUE(test::eventually([&] { return has_begun.load(); }));

    EXPECT_FALSE(publish(*newer, last, 2).failure);

    publishing.join();
    EXPECT_EQ(end->code, ErrorCode::kFenced) << end->message;
    server().command("XREVRANGE 'instep:{shop.order}:0' + - COUNT 1 | grep -q 'of the newer'");
}

TEST_F(RedisBrokerTest, TellsListenersOfAChannelWhatItAddsAndNothingElse) {
    const auto broker = open(server().url() + "?notify=pubsub").value();
    const auto publisher = make_publisher(*broker);
    const test::Process listener("/usr/bin/redis-cli",
                                 {.arguments = {"-p", std::to_string(server().port()), "PSUBSCRIBE",
                                                "instep:{shop.order}:*"}});
    ASSERT_TRUE(listener.prints("psubscribe"));
    const auto events = new_events(700);
    ASSERT_FALSE(publish(*publisher, events, 2).failure);
    ASSERT_EQ(publish(*publisher, new_events(1), 1).failure->code, ErrorCode::kFenced);
    ASSERT_FALSE(publish(*publisher, std::vector{events.back()}, 2).failure);

    EXPECT_THAT(collect(*join(*broker), 701), SizeIs(701));
    std::vector<Event> told;
    EXPECT_TRUE(test::eventually([&] {
        told.clear();
        std::istringstream lines(listener.output());
        for (std::string line; std::getline(lines, line);) {
            if (line.starts_with("{")) {
                told.push_back(from_json(line).value());
            }
        }
        return told.size() >= 701;
    }));
    ASSERT_THAT(told, SizeIs(701));
    EXPECT_TRUE(std::equal(events.begin(), events.end(), told.begin()));
}

TEST_F(RedisBrokerTest, NeedsTheRightToItsChannelsToTellListeners) {
    make_publisher(*open());
    server().command(
        "ACL SETUSER instep on '>secret' '~instep:*' resetchannels +@read +@write +@scripting "
        "+@transaction +@connection +time +wait +info '+config|get' '+acl|whoami' '+acl|dryrun'");
    const std::string url = server().url("instep:secret") + "?notify=pubsub";
    const auto silent = open(url).value();
    const auto outcome = publish(*silent->publisher().value(), new_events(1));
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kPermissionDenied) << outcome.failure->message;
    EXPECT_THAT(silent->examine().value(),
                Contains(Field(&BrokerFinding::fix, HasSubstr("&instep:*"))));

    server().command("ACL SETUSER instep '&instep:*' +publish");
    const auto outcome_with_rights =
        publish(*open(url).value()->publisher().value(), new_events(1));
    EXPECT_FALSE(outcome_with_rights.failure);
}

TEST_F(RedisBrokerTest, StopsAtTheEventThatFindsNoRoom) {
    const auto broker = open();
    const auto publisher = make_publisher(*broker);
    const auto events = new_events(40, 200'000);
    server().command("CONFIG SET maxmemory 5mb");

    const auto outcome = publish(*publisher, events);

    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kStorageFull) << outcome.failure->message;
    EXPECT_TRUE(is_retryable(outcome.failure->code));
    server().command("CONFIG SET maxmemory 0");
    EXPECT_FALSE(publish(*publisher, std::span(events).subspan(outcome.durable)).failure);
    std::vector<std::string> expected;
    for (const Event& event : events) {
        expected.push_back(event.id);
    }
    EXPECT_EQ(ids(collect(*join(*broker), events.size())), expected);
}

TEST_F(RedisBrokerTest, RefusesTheOneEventThatIsLargerThanTheServerTakes) {
    const auto broker = open();
    const auto publisher = make_publisher(*broker);
    auto events = new_events(3);
    events[1].data = std::string(3 << 20, 'x');
    server().command("CONFIG SET proto-max-bulk-len 2mb");

    const auto outcome = publish(*publisher, events);

    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kLimitExceeded) << outcome.failure->message;
    EXPECT_EQ(outcome.durable, 1U);
    EXPECT_FALSE(publish(*publisher, std::span(events).last(1)).failure);
    EXPECT_THAT(ids(collect(*join(*broker), 2)), ElementsAre("e1", "e3"));
}

TEST_F(RedisBrokerTest, ReportsAKeyOfAnotherProgram) {
    const auto broker = open();
    const auto publisher = make_publisher(*broker);
    server().command("SET 'instep:{shop.order}:0' theirs");

    const auto outcome = publish(*publisher, new_events(1));

    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kConflict) << outcome.failure->message;
    EXPECT_THAT(broker->examine().value(),
                Contains(Field(&BrokerFinding::message, HasSubstr("should be a stream"))));
}

TEST_F(RedisBrokerTest, GoesOnWhenItsGroupOrAllKeysAreDeleted) {
    const auto broker = open();
    const auto publisher = make_publisher(*broker);
    const auto subscriber = join(*broker);
    const auto events = new_events(4);
    ASSERT_FALSE(publish(*publisher, std::span(events).first(2)).failure);
    const auto first = collect(*subscriber, 2);
    server().command("XGROUP DESTROY 'instep:{shop.order}:0' billing");
    EXPECT_THAT(broker->examine().value(),
                Contains(Field(&BrokerFinding::subject, "group billing of instep:{shop.order}:0")));
    ASSERT_TRUE(subscriber->acknowledge(0, first.back().position));
    ASSERT_FALSE(publish(*publisher, std::span(events).subspan(2, 1)).failure);
    const auto second = collect(*subscriber, 1);
    ASSERT_TRUE(subscriber->acknowledge(0, second.back().position));
    EXPECT_EQ(broker->lag(kTopic).value().front().events, 0U);

    server().command("FLUSHALL");

    const auto gone = publish(*publisher, std::span(events).last(1));
    ASSERT_TRUE(gone.failure);
    EXPECT_EQ(gone.failure->code, ErrorCode::kNotFound);
    ASSERT_TRUE(publisher->declare_topic(kTopic, 1));
    ASSERT_FALSE(publish(*publisher, std::span(events).last(1)).failure);
    // Nobody tells a member that its topic is new, but its time is short.
    const auto again = join(*broker);
    EXPECT_EQ(ids(collect(*again, 1)), std::vector<std::string>{"e4"});
    EXPECT_THAT(broker->lag(kTopic).value(), SizeIs(1));
}

TEST_F(RedisBrokerTest, TellsAMemberThatWaitsOfItsTopic) {
    const auto broker = open();
    // A third of the time of this member would be long.
    const auto subscriber = broker
                                ->subscribe({.subscription = "billing",
                                             .topic = std::string(kTopic),
                                             .member = "a",
                                             .member_timeout = 300s})
                                .value();
    ASSERT_THAT(subscriber->assignments().value(), IsEmpty());
    subscriber->wait({}, 1ms);
    const auto publisher = make_publisher(*broker);

    EXPECT_TRUE(test::eventually([&] {
        subscriber->wait({}, 1s);
        return subscriber->assignments().value().size() == 1;
    }));
}

TEST_F(RedisBrokerTest, ReadsEventsOfOtherPrograms) {
    const auto broker = open();
    const auto publisher = make_publisher(*broker);
    server().command(
        "XADD 'instep:{shop.order}:0' '*' ce_specversion 1.0 ce_id a ce_source other ce_type t.u "
        "ce_subject k data '{}'");
    server().command(
        "XADD 'instep:{shop.order}:0' '*' content-type application/cloudevents+json data "
        "'{\"specversion\":\"1.0\",\"id\":\"b\",\"source\":\"other\",\"type\":\"t.u\",\"subject\":"
        "\"k\"}'");
    ASSERT_FALSE(publish(*publisher, new_events(1)).failure);

    const auto deliveries = collect(*join(*broker), 3);

    EXPECT_THAT(ids(deliveries), ElementsAre("a", "b", "e1"));
    EXPECT_FALSE(deliveries[0].malformed || deliveries[1].malformed);
}

TEST_F(RedisBrokerTest, TrimsWhatAllHaveAlsoGroupsOfOtherPrograms) {
    const auto broker = open();
    const auto publisher = make_publisher(*broker);
    const auto subscriber = join(*broker);
    server().command("XGROUP CREATE 'instep:{shop.order}:0' theirs 0");
    const auto events = new_events(1000);
    ASSERT_FALSE(publish(*publisher, events).failure);
    const auto all = collect(*subscriber, 1000);
    ASSERT_TRUE(subscriber->acknowledge(0, all.back().position));
    const Timestamp later = clock_.now() + 1h;

    EXPECT_EQ(broker->trim(later).value(), 0U);
    EXPECT_THAT(broker->examine().value(),
                Contains(Field(&BrokerFinding::subject, "group theirs of instep:{shop.order}:0")));
    // Given to them and not acknowledged is not done.
    server().command("XREADGROUP GROUP theirs c COUNT 1000 STREAMS 'instep:{shop.order}:0' '>'");
    EXPECT_EQ(broker->trim(later).value(), 0U);
    server().command("XGROUP DESTROY 'instep:{shop.order}:0' theirs");
    EXPECT_EQ(broker->trim(clock_.now() - 1h).value(), 0U);
    EXPECT_GE(broker->trim(later).value(), 800U);
    EXPECT_EQ(broker->lag(kTopic).value().front().events, 0U);
}

TEST_F(RedisBrokerTest, CountsTheLagAlsoBehindWhatWasTrimmed) {
    const auto broker = open();
    const auto publisher = make_publisher(*broker);
    ASSERT_FALSE(publish(*publisher, new_events(1000)).failure);
    const std::uint64_t trimmed = broker->trim(clock_.now() + 1h).value();
    EXPECT_GE(trimmed, 800U);

    const auto subscriber = join(*broker);
    ASSERT_FALSE(publish(*publisher, new_events(10)).failure);

    EXPECT_EQ(broker->lag(kTopic).value().front().events, 1010 - trimmed);
    const auto deliveries = collect(*subscriber, 1010 - trimmed);
    ASSERT_TRUE(subscriber->acknowledge(0, deliveries[deliveries.size() - 4].position));
    EXPECT_EQ(broker->lag(kTopic).value().front().events, 3U);
}

TEST_F(RedisBrokerTest, GoesBackNoFurtherThanToWhatIsKept) {
    const auto broker = open();
    const auto publisher = make_publisher(*broker);
    const auto subscriber = join(*broker);
    ASSERT_FALSE(publish(*publisher, new_events(1010)).failure);
    const auto all = collect(*subscriber, 1010);
    ASSERT_TRUE(subscriber->acknowledge(0, all[999].position));
    const std::uint64_t trimmed = broker->trim(clock_.now() + 1h).value();
    ASSERT_GE(trimmed, 800U);
    ASSERT_TRUE(subscriber->acknowledge(0, all.back().position));

    const auto kept = broker->kept(kTopic).value();
    ASSERT_THAT(kept, SizeIs(1));
    EXPECT_TRUE(kept[0].is_trimmed);
    EXPECT_EQ(subscriber->rewind(0, 0).error().code, ErrorCode::kNotFound);
    ASSERT_TRUE(subscriber->rewind(0, kept[0].before));
    EXPECT_EQ(broker->lag(kTopic).value().front().events, 1010 - trimmed);
    const auto again = collect(*subscriber, 1010 - trimmed);
    ASSERT_THAT(again, SizeIs(1010 - trimmed));
    EXPECT_EQ(again.front().position, all[trimmed].position);
    ASSERT_TRUE(subscriber->acknowledge(0, again[again.size() - 4].position));
    EXPECT_EQ(broker->lag(kTopic).value().front().events, 3U);
}

TEST_F(RedisBrokerTest, KeepsPositionsRisingWhenAMillisecondIsFull) {
    const auto broker = open();
    const auto publisher = make_publisher(*broker);
    const auto subscriber = join(*broker);
    // As after a clock that was set back by years.
    server().command("XSETID 'instep:{shop.order}:0' 4000000000000-1048000");
    const auto events = new_events(2);
    ASSERT_FALSE(publish(*publisher, std::span(events).first(1)).failure);
    ASSERT_FALSE(publish(*publisher, std::span(events).last(1)).failure);

    const auto deliveries = collect(*subscriber, 2);

    EXPECT_EQ(deliveries[0].position, (4'000'000'000'000ULL << 20U) + 1'048'001);
    EXPECT_EQ(deliveries[1].position, (4'000'000'000'001ULL << 20U) + 1);
}

TEST_F(RedisBrokerTest, WorksOverTlsAndChecksTheCertificate) {
    give_server({.settings = {}, .tls = true});
    const auto broker = open(server().url() + "?ca=" + server().ca_file()).value();
    const auto publisher = make_publisher(*broker);
    const auto subscriber = join(*broker);
    const auto events = new_events(300, 20'000);
    ASSERT_FALSE(publish(*publisher, events).failure);
    EXPECT_THAT(collect(*subscriber, 300), SizeIs(300));

    const std::string port = std::to_string(server().port());
    const auto refusal = [&](const std::string& url) {
        const auto lag = open(url).value()->lag(kTopic);
        return lag ? std::string() : lag.error().message;
    };
    EXPECT_THAT(refusal(server().url()), HasSubstr("certificate is refused"));
    EXPECT_THAT(refusal("rediss://127.0.0.2:" + port + "?ca=" + server().ca_file()),
                HasSubstr("refused"));
    EXPECT_THAT(refusal("redis://127.0.0.1:" + port), Not(IsEmpty()));
}

TEST_F(RedisBrokerTest, FindsSettingsThatLoseEvents) {
    give_server({.settings = {"appendonly no", "maxmemory 100mb", "maxmemory-policy allkeys-lru"},
                 .tls = false});
    const auto broker = open(server().url() + "?replicas=1").value();

    const auto findings = broker->examine().value();

    const auto finds = [&](std::string_view subject) {
        return std::ranges::any_of(findings, [&](const BrokerFinding& finding) {
            return finding.subject == subject && !finding.fix.empty() &&
                   finding.severity == BrokerFinding::Severity::kProblem;
        });
    };
    EXPECT_TRUE(finds("appendonly"));
    EXPECT_TRUE(finds("maxmemory-policy"));
    EXPECT_TRUE(finds("replicas"));
}

TEST_F(RedisBrokerTest, WaitsForTheReplicasThatTheUrlAsksFor) {
    const auto broker = open(server().url() + "?replicas=1&timeout=2000").value();
    const auto publisher = make_publisher(*broker);

    const auto alone = publish(*publisher, new_events(1));
    ASSERT_TRUE(alone.failure);
    EXPECT_EQ(alone.failure->code, ErrorCode::kUnavailable);
    EXPECT_EQ(alone.durable, 0U);

    test::RedisServer replica(
        {.settings = {"replicaof 127.0.0.1 " + std::to_string(server().port())}, .tls = false});
    const auto events = new_events(1);
    EXPECT_TRUE(test::eventually([&] { return !publish(*publisher, events).failure; }));
    const auto lag = open(replica.url()).value()->lag(kTopic);
    ASSERT_FALSE(lag);
    EXPECT_THAT(lag.error().message, HasSubstr("replica"));
}

}  // namespace instep::redis
