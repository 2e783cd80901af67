// What the conformance suite does not see: foreign messages, topics with other settings, events
// that the server has deleted, rights and refusals.
#include "instep/broker/kafka/broker.hpp"

#include "tests/support/eventually.hpp"
#include "tests/support/kafka_client.hpp"
#include "tests/support/kafka_server.hpp"

#include <gmock/gmock.h>

#include <algorithm>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::KafkaClient;
using test::KafkaServer;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class KafkaBrokerTest : public ::testing::Test {
protected:
    void given_topic(std::uint32_t partitions = 1) {
        publisher_->declare_topic(topic_, partitions).value();
    }

    PublishOutcome publish(std::size_t count, std::size_t bytes = 10) {
        std::vector<Event> events(count);
        for (Event& event : events) {
            event.id = "e" + std::to_string(++made_);
            event.source = "shop";
            event.type = "order.placed";
            event.key = "order-1";
            event.data = std::string(bytes, 'x');
        }
        return publisher_->publish({.topic = topic_, .partition = 0, .events = events});
    }

    std::unique_ptr<Subscriber> join(StartAt start_at = StartAt::kEarliest) {
        return broker_
            ->subscribe({.subscription = topic_ + ".reader",
                         .topic = topic_,
                         .member = "one",
                         .start_at = start_at})
            .value();
    }

    static std::vector<Delivery> collect(Subscriber& subscriber, std::size_t count) {
        std::vector<Delivery> all;
        EXPECT_TRUE(test::eventually([&] {
            EXPECT_TRUE(subscriber.assignments());
            auto more = subscriber.receive(100, 1 << 20).value();
            std::ranges::move(more, std::back_inserter(all));
            if (all.size() < count) {
                subscriber.wait({}, 50ms);
            }
            return all.size() >= count;
        })) << all.size();
        return all;
    }

    KafkaServer& server_ = KafkaServer::shared();
    KafkaClient foreign_{server_};
    const std::string topic_ =
        "t" + std::to_string(testing::UnitTest::GetInstance()->current_test_info()->line());
    std::unique_ptr<Broker> broker_ =
        open_kafka_broker(server_.url(), {.publish_timeout = 60s, .request_timeout = 60s}).value();
    std::unique_ptr<Publisher> publisher_ = broker_->publisher().value();
    int made_ = 0;
};

TEST_F(KafkaBrokerTest, RefusesToPublishToWhatIsNoNameOfATopic) {
    Event event;
    event.id = "e1";
    event.source = "shop";
    event.type = "order.placed";
    event.key = "order-1";
    const std::string topic(600, 't');
    const auto outcome =
        publisher_->publish({.topic = topic, .partition = 0, .events = std::span(&event, 1)});
    EXPECT_EQ(outcome.durable, 0U);
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kInvalidArgument) << outcome.failure->message;
}

TEST_F(KafkaBrokerTest, ReadsForeignEventsInBothModes) {
    given_topic();
    foreign_.produce({.topic = topic_,
                      .key = "k1",
                      .value = R"({"a":1})",
                      .headers = {{"ce_specversion", "1.0"},
                                  {"ce_id", "f1"},
                                  {"ce_source", "crm"},
                                  {"ce_type", "lead.created"},
                                  {"content-type", "application/json"},
                                  {"x-other", "ignored"}}});
    foreign_.produce(
        {.topic = topic_,
         .key = "k2",
         .value = R"({"specversion":"1.0","id":"f2","source":"crm",)"
                  R"("type":"lead.created","subject":"k2","data":{"a":2}})",
         .headers = {{"content-type", "application/CloudEvents+json; charset=utf-8"}}});

    const auto deliveries = collect(*join(), 2);

    ASSERT_THAT(deliveries, SizeIs(2));
    for (const Delivery& delivery : deliveries) {
        EXPECT_FALSE(delivery.malformed) << delivery.malformed->message;
        EXPECT_EQ(delivery.event.source, "crm");
    }
    EXPECT_EQ(deliveries[0].event.key, "k1");
    EXPECT_EQ(deliveries[0].event.data, R"({"a":1})");
    EXPECT_EQ(deliveries[1].event.key, "k2");
    EXPECT_EQ(deliveries[1].event.data, R"({"a":2})");
}

TEST_F(KafkaBrokerTest, DeliversWhatIsNoEventAsMalformedAndGoesOn) {
    given_topic();
    const std::vector<std::pair<std::string, std::string>> good = {
        {"ce_specversion", "1.0"}, {"ce_id", "f"}, {"ce_source", "crm"}, {"ce_type", "a.b"}};
    auto newer = good;
    newer[0].second = "2.0";
    auto no_text = good;
    no_text[2].second = "\xff\xfe";
    auto twice = good;
    twice.emplace_back("ce_id", "g");
    foreign_.produce({.topic = topic_, .key = "k", .value = std::nullopt});
    foreign_.produce({.topic = topic_, .key = "k", .value = "a", .headers = newer});
    foreign_.produce({.topic = topic_, .key = "k", .value = "b", .headers = no_text});
    foreign_.produce({.topic = topic_, .key = "k", .value = "c", .headers = twice});
    foreign_.produce({.topic = topic_, .value = "d", .headers = good});
    foreign_.produce({.topic = topic_,
                      .key = "k",
                      .value = "{",
                      .headers = {{"content-type", "application/cloudevents+json"}}});
    publish(1);

    const auto deliveries = collect(*join(), 7);

    ASSERT_THAT(deliveries, SizeIs(7));
    for (std::size_t i = 0; i < 6; ++i) {
        EXPECT_TRUE(deliveries[i].malformed) << i;
    }
    EXPECT_EQ(deliveries[1].malformed->code, ErrorCode::kSchemaMismatch);
    EXPECT_EQ(deliveries[2].event.data, "b");
    EXPECT_EQ(deliveries[2].event.key, "k");
    EXPECT_FALSE(deliveries[6].malformed);
}

TEST_F(KafkaBrokerTest, TellsWhichEventIsTooLargeForATopicMadeByOthers) {
    foreign_.create_topic(topic_, 1, {{"max.message.bytes", "20000"}});
    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    std::vector<Event> events(60);
    for (std::size_t i = 0; i < events.size(); ++i) {
        events[i].id = "e" + std::to_string(i);
        events[i].source = "shop";
        events[i].type = "order.placed";
        events[i].key = "order-1";
        events[i].data = std::string(i == 50 ? 30'000 : 1'000, 'x');
    }

    const auto outcome = publisher_->publish({.topic = topic_, .partition = 0, .events = events});

    EXPECT_EQ(outcome.durable, 50U);
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kLimitExceeded) << outcome.failure->message;
    EXPECT_THAT(collect(*join(), 50), SizeIs(50));
}

TEST_F(KafkaBrokerTest, SaysThatEventsWereDeletedInsteadOfSkippingThem) {
    foreign_.create_topic(topic_, 1);
    publish(20);
    auto subscriber = join();
    const auto delivered = collect(*subscriber, 20);
    ASSERT_TRUE(subscriber->acknowledge(0, delivered[4].position));
    subscriber.reset();

    foreign_.delete_records(topic_, 0, 10);
    subscriber = join();
    std::optional<Error> error;
    EXPECT_TRUE(test::eventually([&] {
        EXPECT_TRUE(subscriber->assignments());
        const auto received = subscriber->receive(100, 1 << 20);
        if (!received) {
            error = received.error();
        }
        return error.has_value();
    }));

    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, ErrorCode::kCorrupt);
    EXPECT_THAT(error->message, AllOf(HasSubstr("from 5"), HasSubstr("--reset-offsets")));
}

TEST_F(KafkaBrokerTest, TellsThatATopicWasDeleted) {
    given_topic();
    publish(1);
    const auto subscriber = join();
    collect(*subscriber, 1);

    foreign_.delete_topic(topic_);

    std::optional<Error> told;
    EXPECT_TRUE(test::eventually([&] {
        if (const auto held = subscriber->assignments(); !held) {
            told = held.error();
        } else if (const auto received = subscriber->receive(1, 1 << 20); !received) {
            told = received.error();
        }
        return told.has_value();
    }));
    EXPECT_THAT(told.value_or(Error{}).message, HasSubstr(topic_));
    const auto outcome = publish(1);
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.durable, 0U);
}

TEST_F(KafkaBrokerTest, RefusesASubscriptionOfAnotherTopic) {
    given_topic();
    join();

    const auto other = broker_->subscribe(
        {.subscription = topic_ + ".reader", .topic = topic_ + ".other", .member = "one"});

    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, ErrorCode::kConflict);
}

TEST_F(KafkaBrokerTest, KeepsASubscriptionToATopicThatComesLater) {
    join(StartAt::kLatest).reset();
    given_topic();
    publish(3);

    EXPECT_THAT(collect(*join(StartAt::kLatest), 3), SizeIs(3));
}

TEST_F(KafkaBrokerTest, ExaminesTopicsAndServer) {
    foreign_.create_topic(topic_, 1, {{"retention.ms", "3600000"}, {"retention.bytes", "1000000"}});
    join();

    const auto findings = broker_->examine().value();

    const std::string subject = "topic " + topic_;
    const auto finds = [&](std::string_view text) {
        return Contains(AllOf(Field(&BrokerFinding::subject, subject),
                              Field(&BrokerFinding::message, HasSubstr(std::string(text))),
                              Field(&BrokerFinding::fix, Not(IsEmpty()))));
    };
    EXPECT_THAT(findings, finds("one copy"));
    EXPECT_THAT(findings, finds("retention.bytes"));
    EXPECT_THAT(findings, finds("retention.ms"));
    EXPECT_THAT(findings, finds("max.message.bytes"));
    EXPECT_THAT(findings, Contains(AllOf(Field(&BrokerFinding::subject, "server"),
                                         Field(&BrokerFinding::message,
                                               HasSubstr("offsets.topic.replication.factor")))));
}

TEST_F(KafkaBrokerTest, MakesCompactedTopicsOnRequest) {
    const auto compacting = open_kafka_broker(server_.url("cleanup=compact")).value();
    EXPECT_TRUE(compacting->features().compacts);
    compacting->publisher().value()->declare_topic(topic_, 1).value();
    join();

    EXPECT_THAT(broker_->examine().value(),
                Contains(AllOf(Field(&BrokerFinding::subject, "topic " + topic_),
                               Field(&BrokerFinding::message, HasSubstr("cleanup.policy")))));
}

TEST_F(KafkaBrokerTest, AStaticMemberFindsItsPartitionsAsTheyWere) {
    given_topic(2);
    const auto broker = open_kafka_broker(server_.url("static_members=on")).value();
    const auto join_as = [&](const std::string& member) {
        return broker
            ->subscribe({.subscription = topic_ + ".reader", .topic = topic_, .member = member})
            .value();
    };
    auto a = join_as("a");
    std::vector<Assignment> before;
    ASSERT_TRUE(test::eventually([&] {
        before = a->assignments().value();
        return before.size() == 2;
    }));

    a.reset();
    a = join_as("a");

    std::vector<Assignment> after;
    ASSERT_TRUE(test::eventually([&] {
        after = a->assignments().value();
        return after.size() == 2;
    }));
    EXPECT_EQ(after[0].epoch, before[0].epoch);
}

class KafkaTlsTest : public ::testing::Test {
protected:
    std::unique_ptr<Broker> open_with(const std::string& options) {
        return open_kafka_broker(server_.url(options)).value();
    }

    static PublishOutcome publish(Broker& broker) {
        std::vector<Event> events(1);
        events[0].id = "e1";
        events[0].source = "shop";
        events[0].type = "order.placed";
        events[0].key = "k";
        return broker.publisher().value()->publish(
            {.topic = "t", .partition = 0, .events = events});
    }

    KafkaServer server_{{.settings = {}, .tls = true, .advertise = {}}};
    const std::string ca_ = "security.protocol=ssl&ssl.ca.location=" + server_.folder();
};

TEST_F(KafkaTlsTest, EventsPassToAServerThatTheUrlTrusts) {
    const auto broker = open_with(ca_ + "/ca.pem");
    const auto declared = broker->publisher().value()->declare_topic("t", 1);
    ASSERT_TRUE(declared) << declared.error().message;
    const auto outcome = publish(*broker);
    EXPECT_FALSE(outcome.failure) << outcome.failure->message;
    const auto subscriber =
        broker->subscribe({.subscription = "s", .topic = "t", .member = "one"}).value();
    EXPECT_TRUE(test::eventually([&] {
        EXPECT_TRUE(subscriber->assignments());
        return subscriber->receive(1, 1 << 20).value().size() == 1;
    }));
}

TEST_F(KafkaTlsTest, AServerThatTheUrlDoesNotTrustIsRefused) {
    const auto broker = open_with(ca_ + "/other-ca.pem");
    const auto declared = broker->publisher().value()->declare_topic("t", 1);
    const auto outcome = publish(*broker);
    const auto subscribed = broker->subscribe({.subscription = "s", .topic = "t", .member = "one"});

    const std::string words = "ssl.ca.location";
    ASSERT_FALSE(declared);
    EXPECT_THAT(declared.error().message, HasSubstr(words));
    ASSERT_TRUE(outcome.failure);
    EXPECT_THAT(outcome.failure->message, HasSubstr(words));
    ASSERT_FALSE(subscribed);
    EXPECT_THAT(subscribed.error().message, HasSubstr(words));
}

TEST_F(KafkaTlsTest, AClientThatSpeaksNoTlsIsTold) {
    const auto declared = open_with("")->publisher().value()->declare_topic("t", 1);
    ASSERT_FALSE(declared);
    EXPECT_EQ(declared.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(declared.error().message, HasSubstr("security.protocol"));
}

TEST_F(KafkaTlsTest, AFileThatHoldsNoCertificateIsRefusedAtOnce) {
    const auto broker = open_kafka_broker(server_.url(ca_ + "/nowhere.pem"));
    ASSERT_FALSE(broker);
    EXPECT_EQ(broker.error().code, ErrorCode::kConfigInvalid) << broker.error().message;
}

TEST(KafkaRightsTest, MissingRightsAreToldWithWhatToGrant) {
    KafkaServer server(
        {.settings = {"authorizer.class.name="
                      "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                      "super.users=User:nobody", "early.start.listeners=CONTROLLER",
                      "listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,"
                      "CONTROLLER:PLAINTEXT",
                      "sasl.enabled.mechanisms=PLAIN", "sasl.mechanism.inter.broker.protocol=PLAIN",
                      "super.users=User:admin;User:ANONYMOUS",
                      "listener.name.plaintext.plain.sasl.jaas.config="
                      "org.apache.kafka.common.security.plain.PlainLoginModule required "
                      "username=\"admin\" password=\"right\" user_admin=\"right\" "
                      "user_instep=\"right\";"}});
    const std::string login =
        "security.protocol=sasl_plaintext&sasl.mechanism=PLAIN&"
        "sasl.password=right&sasl.username=";
    const auto admin = open_kafka_broker(server.url(login + "admin")).value();
    ASSERT_TRUE(admin->publisher().value()->declare_topic("t", 1));
    const auto broker = open_kafka_broker(server.url(login + "instep")).value();

    const auto declared = broker->publisher().value()->declare_topic("u", 1);
    const auto subscribed = broker->subscribe({.subscription = "s", .topic = "t", .member = "one"});

    ASSERT_FALSE(declared);
    EXPECT_EQ(declared.error().code, ErrorCode::kPermissionDenied) << declared.error().message;
    ASSERT_FALSE(subscribed);
    EXPECT_EQ(subscribed.error().code, ErrorCode::kPermissionDenied) << subscribed.error().message;
}

}  // namespace
}  // namespace instep
