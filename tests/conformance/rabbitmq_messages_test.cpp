// What other programs see of our messages, and what we make of theirs.
#include "instep/broker/rabbitmq/broker.hpp"
#include "tests/support/amqp_client.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/rabbitmq_server.hpp"

#include <gmock/gmock.h>

#include <string>

namespace instep::test {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class RabbitmqMessages : public ::testing::Test {
protected:
    RabbitmqMessages() {
        publisher_->declare_topic(topic_, 1).value();
        subscriber_ = broker_
                          ->subscribe({.subscription = topic_ + ".reader",
                                       .topic = topic_,
                                       .member = "one",
                                       .member_timeout = 60s})
                          .value();
    }

    static Event new_event() {
        Event event;
        event.id = "e1";
        event.source = "iam";
        event.type = "user.created";
        event.key = "Zoë";
        event.time = Timestamp(1'700'000'000s);
        event.version = {.epoch = 1, .batch = 2, .index = 3};
        event.data = R"({"id":7})";
        return event;
    }

    PublishOutcome publish(const std::vector<Event>& events) {
        return publisher_->publish(
            {.topic = topic_, .partition = 0, .events = events, .fencing_epoch = 0});
    }

    void send(AmqpClient::Message message) {
        message.routing_key = "user.created";
        client_.publish(topic_ + ".p0", message);
    }

    Delivery receive() {
        std::vector<Delivery> deliveries;
        EXPECT_TRUE(eventually([&] {
            EXPECT_TRUE(subscriber_->assignments());
            deliveries = subscriber_->receive(1, 1).value();
            return !deliveries.empty();
        }));
        return deliveries.empty() ? Delivery{} : deliveries.front();
    }

    static inline int tests = 0;

    RabbitmqServer& server_ = RabbitmqServer::shared();
    SystemClock clock_;
    SystemRandom random_;
    const std::string topic_ = "messages" + std::to_string(++tests);
    std::unique_ptr<Broker> broker_ = open_rabbitmq_broker(server_.url(), clock_, random_).value();
    std::unique_ptr<Publisher> publisher_ = broker_->publisher().value();
    std::unique_ptr<Subscriber> subscriber_;
    AmqpClient client_{server_.port()};
};

TEST_F(RabbitmqMessages, AreCloudEventsForProgramsThatBindByType) {
    client_.bind_queue(topic_ + ".foreign", topic_, "user.*");
    client_.bind_queue(topic_ + ".orders", topic_, "order.*");
    client_.bind_queue(topic_ + ".all", topic_, "#");

    ASSERT_FALSE(publish({new_event()}).failure);

    const auto message = client_.get(topic_ + ".foreign");
    ASSERT_TRUE(message);
    EXPECT_EQ(message->routing_key, "user.created");
    EXPECT_EQ(message->content_type, "application/json");
    EXPECT_EQ(message->message_id, "e1");
    EXPECT_EQ(message->body, R"({"id":7})");
    EXPECT_THAT(message->headers, Contains(Pair("cloudEvents_specversion", "1.0")));
    EXPECT_THAT(message->headers, Contains(Pair("cloudEvents_id", "e1")));
    EXPECT_THAT(message->headers, Contains(Pair("cloudEvents_source", "iam")));
    EXPECT_THAT(message->headers, Contains(Pair("cloudEvents_type", "user.created")));
    EXPECT_THAT(message->headers, Contains(Pair("cloudEvents_subject", "Zoë")));
    EXPECT_THAT(message->headers, Contains(Pair("cloudEvents_sequence",
                                                "0000000001.00000000000000000002.0000000003")));
    EXPECT_FALSE(client_.get(topic_ + ".orders"));
    EXPECT_TRUE(client_.get(topic_ + ".all"));
}

TEST_F(RabbitmqMessages, OfOthersInBinaryModeAreEventsWhateverTheirPrefix) {
    for (const std::string prefix : {"cloudEvents_", "cloudEvents:", "ce_", "ce-"}) {
        send({.content_type = "text/plain",
              .headers = {{prefix + "specversion", "1.0"},
                          {prefix + "id", "x1"},
                          {prefix + "source", "crm"},
                          {prefix + "type", "user.created"},
                          {prefix + "subject", "u7"},
                          {"x-other", "ignored"}},
              .body = "hello"});
        const Delivery delivery = receive();
        ASSERT_FALSE(delivery.malformed) << prefix << delivery.malformed->message;
        EXPECT_EQ(delivery.event.id, "x1");
        EXPECT_EQ(delivery.event.key, "u7");
        EXPECT_EQ(delivery.event.content_type, "text/plain");
        EXPECT_EQ(delivery.event.data, "hello");
        EXPECT_THAT(delivery.event.extensions, IsEmpty());
    }
}

TEST_F(RabbitmqMessages, OfOthersInStructuredModeAreEvents) {
    send({.content_type = "application/cloudevents+json; charset=utf-8",
          .body = R"({"specversion":"1.0","id":"x2","source":"crm","type":"user.created",)"
                  R"("subject":"u8","data":{"a":1}})"});
    const Delivery delivery = receive();
    ASSERT_FALSE(delivery.malformed) << delivery.malformed->message;
    EXPECT_EQ(delivery.event.id, "x2");
    EXPECT_EQ(delivery.event.data, R"({"a":1})");
}

TEST_F(RabbitmqMessages, ThatAreNoEventsAreMalformedAndKeepTheirBytes) {
    const std::vector<std::pair<std::string, std::string>> complete = {
        {"ce_specversion", "1.0"}, {"ce_id", "x"}, {"ce_source", "s"}, {"ce_type", "t"}};
    auto newer = complete;
    newer[0].second = "2.0";
    auto incomplete = complete;
    incomplete.pop_back();
    incomplete.emplace_back("ce_subject", "u9");
    auto not_text = complete;
    not_text[1].second = "\xff\xfe";
    const std::vector<AmqpClient::Message> messages = {
        {.body = "bare"},
        {.headers = newer, .body = "newer"},
        {.headers = incomplete, .body = "incomplete"},
        {.headers = not_text, .body = "not text"},
        {.content_type = "application/cloudevents+json", .body = "{"},
        {.content_type = "application/cloudevents-batch+json", .body = "[]"},
    };
    for (const AmqpClient::Message& message : messages) {
        send(message);
        const Delivery delivery = receive();
        EXPECT_TRUE(delivery.malformed) << message.body;
        EXPECT_EQ(delivery.event.data, message.body);
        EXPECT_EQ(delivery.event.key, message.body == "incomplete" ? "u9" : "");
        EXPECT_TRUE(subscriber_->acknowledge(0, delivery.position));
    }
}

TEST_F(RabbitmqMessages, LargerThanTheServerTakesAreRefusedAndHoldBackNoneBeforeThem) {
    server_.control("eval 'application:set_env(rabbit, max_message_size, 65536).'");
    auto events = std::vector<Event>(3, new_event());
    events[1].data = std::string(70'000, 'x');

    // Another publisher, since a channel keeps the limit it began with.
    publisher_ = broker_->publisher().value();
    const auto outcome = publish(events);

    server_.control("eval 'application:set_env(rabbit, max_message_size, 134217728).'");
    EXPECT_EQ(outcome.durable, 1U);
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kLimitExceeded) << outcome.failure->message;
    EXPECT_THAT(outcome.failure->message, HasSubstr("max_message_size"));
}

TEST_F(RabbitmqMessages, WithMoreAttributesThanAFrameHoldsAreRefused) {
    Event event = new_event();
    for (char name = 'a'; name <= 'z'; ++name) {
        event.extensions.emplace_back(std::string(3, name), std::string(4096, 'x'));
        event.extensions.emplace_back(std::string(4, name), std::string(4096, 'x'));
        if (event.extensions.size() == kEventExtensionsMax) {
            break;
        }
    }
    const auto outcome = publish({new_event(), event});
    EXPECT_EQ(outcome.durable, 1U);
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kLimitExceeded) << outcome.failure->message;
}

TEST_F(RabbitmqMessages, AreNotTakenWhileTheServerIsShortOfDisk) {
    server_.control("set_disk_free_limit 900000GB");
    // Connections are told of it by and by.
    PublishOutcome in_alarm;
    EXPECT_TRUE(eventually([&] {
        in_alarm = publish({new_event()});
        return in_alarm.failure.has_value();
    }));
    const auto again = publish({new_event()});
    const auto findings = broker_->examine();
    server_.control("set_disk_free_limit 1MB");

    ASSERT_TRUE(in_alarm.failure);
    EXPECT_EQ(in_alarm.failure->code, ErrorCode::kStorageFull) << in_alarm.failure->message;
    EXPECT_EQ(again.failure.value_or(Error{}).code, ErrorCode::kStorageFull);
    ASSERT_TRUE(findings) << findings.error().message;
    EXPECT_THAT(*findings,
                Contains(::testing::AllOf(
                    ::testing::Field(&BrokerFinding::severity, BrokerFinding::Severity::kProblem),
                    ::testing::Field(&BrokerFinding::subject, "alarm"))));
    EXPECT_TRUE(eventually([&] { return !publish({new_event()}).failure; }));
    EXPECT_EQ(receive().event.id, "e1");
}

}  // namespace
}  // namespace instep::test
