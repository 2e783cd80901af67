// Names, rights, and what happens when somebody changes what stands on the server.
#include "instep/broker/rabbitmq/broker.hpp"
#include "tests/support/amqp_client.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/rabbitmq_server.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace instep::test {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class RabbitmqTopology : public ::testing::Test {
protected:
    std::unique_ptr<Broker> open(const std::string& url) {
        return open_rabbitmq_broker(url, clock_, random_).value();
    }

    Result<std::unique_ptr<Subscriber>> subscribe(Broker& broker) {
        return broker.subscribe(
            {.subscription = reader_, .topic = topic_, .member = "one", .member_timeout = 20s});
    }

    PublishOutcome publish(std::size_t count) {
        std::vector<Event> events(count);
        for (Event& event : events) {
            event.id = "e" + std::to_string(++events_made_);
            event.source = "iam";
            event.type = "user.created";
            event.key = "u1";
            event.time = clock_.now();
        }
        return publisher_->publish(
            {.topic = topic_, .partition = 0, .events = events, .fencing_epoch = 0});
    }

    std::vector<Delivery> receive(Subscriber& subscriber, std::size_t count) {
        std::vector<Delivery> all;
        EXPECT_TRUE(eventually([&] {
            std::ignore = subscriber.assignments();
            auto some = subscriber.receive(count, 1 << 20).value();
            for (Delivery& delivery : some) {
                all.push_back(std::move(delivery));
            }
            return all.size() >= count;
        }));
        return all;
    }

    /// Both with their queues, and nobody who reads.
    void given_two_subscriptions() {
        ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
        ASSERT_TRUE(subscribe(*broker_));
        ASSERT_TRUE(broker_->subscribe({.subscription = other_reader_,
                                        .topic = topic_,
                                        .member = "one",
                                        .member_timeout = 20s}));
    }

    /// How many events wait in the queue of each subscription.
    std::vector<std::uint64_t> waiting() {
        const auto lags = broker_->lag(topic_).value();
        std::vector<std::uint64_t> events;
        for (const SubscriptionLag& lag : lags) {
            events.push_back(lag.events);
        }
        return events;
    }

    static ::testing::Matcher<const BrokerFinding&> is_problem(const std::string& subject) {
        return AllOf(Field(&BrokerFinding::subject, HasSubstr(subject)),
                     Field(&BrokerFinding::severity, BrokerFinding::Severity::kProblem));
    }

    static inline int tests = 0;

    RabbitmqServer& server_ = RabbitmqServer::shared();
    SystemClock clock_;
    SystemRandom random_;
    const std::string topic_ = "topology" + std::to_string(++tests);
    const std::string reader_ = topic_ + ".reader";
    const std::string other_reader_ = topic_ + ".other";
    std::unique_ptr<Broker> broker_ = open(server_.url());
    std::unique_ptr<Publisher> publisher_ = broker_->publisher().value();
    AmqpClient client_{server_.port()};
    int events_made_ = 0;
};

TEST_F(RabbitmqTopology, TakesAndDropsEventsThatNobodySubscribedTo) {
    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    const auto outcome = publish(100);
    EXPECT_FALSE(outcome.failure) << outcome.failure->message;
    EXPECT_EQ(outcome.durable, 100U);
}

TEST_F(RabbitmqTopology, RefusesEventsWhoseQueueWasDeletedAndNamesWhatIsMissing) {
    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    ASSERT_TRUE(subscribe(*broker_));
    ASSERT_FALSE(publish(1).failure);
    client_.delete_queue(reader_ + ".0");

    const auto outcome = publish(3);

    EXPECT_EQ(outcome.durable, 0U);
    ASSERT_TRUE(outcome.failure);
    EXPECT_EQ(outcome.failure->code, ErrorCode::kNotFound);
    EXPECT_THAT(outcome.failure->message, AllOf(HasSubstr(topic_ + ".p0"), HasSubstr(reader_)));
    EXPECT_THAT(broker_->lag(topic_).value(), IsEmpty());
    EXPECT_THAT(broker_->examine().value(), Contains(is_problem("queue " + reader_ + ".0")));

    const auto subscriber = subscribe(*broker_).value();
    EXPECT_FALSE(publish(2).failure);
    EXPECT_THAT(receive(*subscriber, 2), SizeIs(2));
}

TEST_F(RabbitmqTopology, BindsAllQueuesAgainWhereAnExchangeWasDeleted) {
    given_two_subscriptions();
    client_.delete_exchange(topic_ + ".p0");
    EXPECT_EQ(publish(1).failure.value().code, ErrorCode::kNotFound);

    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    ASSERT_FALSE(publish(3).failure);

    EXPECT_EQ(waiting(), (std::vector<std::uint64_t>{3, 3}));
}

// As CHANGELOG.md tells whoever has exchanges of an earlier build.
TEST_F(RabbitmqTopology, GoesOnOnceAnExchangeOfAnEarlierBuildIsDeleted) {
    given_two_subscriptions();
    const std::string exchange = topic_ + ".p0";
    client_.delete_exchange(exchange);
    client_.declare_topic_exchange(exchange);
    client_.bind_standing_queue(reader_ + ".0", exchange);
    client_.bind_standing_queue(other_reader_ + ".0", exchange);
    ASSERT_FALSE(publish(2).failure);

    const auto declared = publisher_->declare_topic(topic_, 1);
    ASSERT_FALSE(declared);
    EXPECT_EQ(declared.error().code, ErrorCode::kConflict);
    EXPECT_THAT(declared.error().message, AllOf(HasSubstr(exchange), HasSubstr("earlier build")));
    const auto subscribed = subscribe(*broker_);
    ASSERT_FALSE(subscribed);
    EXPECT_THAT(subscribed.error().message, AllOf(HasSubstr(exchange), HasSubstr("earlier build")));

    server_.control("eval 'rabbit_exchange:delete(rabbit_misc:r(<<\"/\">>, exchange, <<\"" +
                    exchange + "\">>), false, <<\"admin\">>).'");
    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    ASSERT_FALSE(publish(3).failure);

    EXPECT_EQ(waiting(), (std::vector<std::uint64_t>{5, 5})) << "one of the two lost events";
    EXPECT_THAT(receive(*subscribe(*broker_).value(), 5), SizeIs(5));
}

TEST_F(RabbitmqTopology, TellsAMemberThatItsQueueWasDeleted) {
    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    const auto subscriber = subscribe(*broker_).value();
    ASSERT_TRUE(eventually([&] { return subscriber->assignments().value().size() == 1; }));
    client_.delete_queue(reader_ + ".0");

    std::string told;
    EXPECT_TRUE(eventually([&] {
        const auto assignments = subscriber->assignments();
        told = assignments ? "" : assignments.error().message;
        return !assignments && assignments.error().code == ErrorCode::kNotFound &&
               told.contains("instep verify");
    })) << told;
}

TEST_F(RabbitmqTopology, TellsOfEventsThatDidNotComeToAQueueAndBindsItAgain) {
    given_two_subscriptions();
    auto subscriber =
        broker_
            ->subscribe(
                {.subscription = reader_, .topic = topic_, .member = "one", .member_timeout = 5s})
            .value();
    ASSERT_FALSE(publish(2).failure);
    const Position position = receive(*subscriber, 2).back().position;
    ASSERT_TRUE(subscriber->acknowledge(0, position));
    ASSERT_TRUE(subscriber->seek(0, position)) << "which must not forget what came";
    client_.unbind_standing_queue(reader_ + ".0", topic_ + ".p0");
    ASSERT_FALSE(publish(3).failure) << "the other has its queue";

    std::string told;
    EXPECT_TRUE(eventually([&] {
        std::ignore = publish(1);
        const auto assignments = subscriber->assignments();
        told = assignments ? "" : assignments.error().message;
        return told.contains("misses events");
    })) << told;
    EXPECT_THAT(told, AllOf(HasSubstr(reader_), HasSubstr("instep verify")));
    EXPECT_TRUE(subscriber->assignments()) << "it is told once, and the rest goes on";
    EXPECT_THAT(receive(*subscriber, 1), SizeIs(1));
    EXPECT_THAT(broker_->examine().value(), Contains(is_problem("subscription " + reader_)));
    EXPECT_THAT(broker_->examine().value(), Not(Contains(is_problem(other_reader_))));
    EXPECT_EQ(waiting().back(), static_cast<std::uint64_t>(events_made_)) << "of the other";

    subscriber.reset();
    ASSERT_TRUE(subscribe(*broker_));
    EXPECT_THAT(broker_->examine().value(), Not(Contains(is_problem(reader_))));
    EXPECT_THAT(waiting(), SizeIs(2));
}

TEST_F(RabbitmqTopology, TellsOfAQueueWithoutALeader) {
    given_two_subscriptions();
    EXPECT_THAT(broker_->examine().value(), Not(Contains(is_problem(topic_))));
    server_.take_leader("/", reader_ + ".0");

    const auto findings = broker_->examine().value();
    EXPECT_THAT(findings, Contains(AllOf(is_problem("queue " + reader_ + ".0"),
                                         Field(&BrokerFinding::message, HasSubstr("leader")))));
    EXPECT_THAT(findings, Not(Contains(is_problem(other_reader_))));

    server_.give_leader("/", reader_ + ".0");
    EXPECT_TRUE(eventually([&] {
        const auto again = broker_->examine().value();
        return std::ranges::none_of(
            again, [&](const BrokerFinding& finding) { return finding.subject.contains(reader_); });
    }));
}

TEST_F(RabbitmqTopology, RefusesAQueueOfAnotherKind) {
    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    client_.declare_classic_queue(reader_ + ".0");
    const auto subscribed = subscribe(*broker_);
    ASSERT_FALSE(subscribed);
    EXPECT_EQ(subscribed.error().code, ErrorCode::kConflict) << subscribed.error().message;
}

TEST_F(RabbitmqTopology, MakesClassicQueuesIfTheUrlSaysSo) {
    const auto classic = open(server_.url() + "?queue=classic&prefetch=10");
    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    const auto subscriber = subscribe(*classic).value();
    ASSERT_FALSE(publish(5).failure);
    EXPECT_THAT(receive(*subscriber, 5), SizeIs(5));
    EXPECT_EQ(subscribe(*broker_).error().code, ErrorCode::kConflict);
}

TEST_F(RabbitmqTopology, CountsWhatAMemberOfAnotherProcessHasNotAcknowledged) {
    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    const auto subscriber = subscribe(*broker_).value();
    ASSERT_FALSE(publish(4).failure);
    const auto deliveries = receive(*subscriber, 4);
    const auto other = open(server_.url());

    EXPECT_EQ(other->lag(topic_).value().front().events, 4U);
    ASSERT_TRUE(subscriber->acknowledge(0, deliveries.back().position));
    EXPECT_TRUE(eventually([&] { return other->lag(topic_).value().front().events == 0; }));
}

TEST_F(RabbitmqTopology, TakesAMemberThatIsStoppedForOneThatHasEvents) {
    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    ASSERT_TRUE(subscribe(*broker_));
    ASSERT_FALSE(publish(3).failure);
    const pid_t member = ::fork();
    if (member == 0) {
        const auto own = open(server_.url());
        const auto subscriber = subscribe(*own).value();
        receive(*subscriber, 3);
        ::raise(SIGSTOP);
        ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(member, &status, WUNTRACED), member);
    ASSERT_TRUE(WIFSTOPPED(status));

    EXPECT_GT(broker_->lag(topic_).value().front().events, 0U);

    ::kill(member, SIGKILL);
    ::waitpid(member, &status, 0);
    EXPECT_TRUE(eventually([&] { return broker_->lag(topic_).value().front().events == 3; }));
}

TEST_F(RabbitmqTopology, KeepsThePartitionsOfAMemberThatIsOnlySlow) {
    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    const auto subscriber =
        broker_
            ->subscribe(
                {.subscription = reader_, .topic = topic_, .member = "slow", .member_timeout = 12s})
            .value();
    ASSERT_FALSE(publish(1).failure);
    const auto deliveries = receive(*subscriber, 1);
    // Longer than the server waits for a sign of life of a connection with heartbeats of 6 s
    // would be with none at all is the time-out itself; here the thread has sent some.
    std::ignore = eventually([] { return false; }, 8s);
    EXPECT_TRUE(subscriber->acknowledge(0, deliveries.front().position));
}

TEST_F(RabbitmqTopology, SaysWhyItCannotConnect) {
    const auto code_of = [&](const std::string& url) { return open(url)->lag("").error().code; };
    const std::string place = "127.0.0.1:" + std::to_string(server_.port());
    EXPECT_EQ(code_of("amqp://guest:wrong@" + place + "/"), ErrorCode::kPermissionDenied);
    EXPECT_EQ(code_of("amqp://" + place + "/nowhere"), ErrorCode::kNotFound);
    EXPECT_EQ(code_of("amqp://127.0.0.1:1/"), ErrorCode::kUnavailable);
    EXPECT_EQ(code_of("amqps://" + place + "/"), ErrorCode::kUnavailable);
    const auto refused = open("amqp://guest:wr0ng@" + place + "/")->lag("");
    EXPECT_THAT(refused.error().message, ::testing::Not(HasSubstr("wr0ng")));
}

TEST_F(RabbitmqTopology, SaysWhichRightIsMissing) {
    server_.control(
        "eval 'rabbit_auth_backend_internal:add_user(<<\"limited\">>, <<\"x\">>, "
        "<<\"test\">>), rabbit_auth_backend_internal:set_permissions(<<\"limited\">>, "
        "<<\"/\">>, <<\"^$\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>).'");
    const auto limited = open("amqp://limited:x@127.0.0.1:" + std::to_string(server_.port()) + "/");
    const auto declared = limited->publisher().value()->declare_topic(topic_, 1);
    ASSERT_FALSE(declared);
    EXPECT_EQ(declared.error().code, ErrorCode::kPermissionDenied);
    EXPECT_THAT(declared.error().message, HasSubstr("set_permissions"));
}

TEST(RabbitmqUrl, SaysWhatIsWrongWithIt) {
    SystemClock clock;
    SystemRandom random;
    for (const std::string url :
         {"amqp://", "amqp://host:0/", "amqp://host:x/", "amqp://u%4:p@host/", "http://host/",
          "amqp://host/?queue=fast", "amqp://host/?prefetch=0", "amqp://host/?ca=x",
          "amqp://host/?history=7", "amqp://host/?history=0d", "amqp://host/?history=3651d",
          "amqp://host/?nothing=1", "amqp://:secret@host/", "amqp://host/%00"}) {
        const auto broker = open_rabbitmq_broker(url, clock, random);
        ASSERT_FALSE(broker) << url;
        EXPECT_EQ(broker.error().code, ErrorCode::kConfigInvalid) << url;
        EXPECT_THAT(broker.error().message, ::testing::Not(HasSubstr("secret")));
    }
    EXPECT_TRUE(open_rabbitmq_broker("amqp://a%40b:p%2F@[::1]:1/%2Fx", clock, random));
}

}  // namespace
}  // namespace instep::test
