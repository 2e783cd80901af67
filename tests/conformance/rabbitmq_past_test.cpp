// The streams that keep a topic's past: made, aged, deleted.
#include "instep/broker/rabbitmq/broker.hpp"
#include "tests/support/amqp_client.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/rabbitmq_server.hpp"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace instep::test {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RabbitmqPast : public ::testing::Test {
protected:
    std::unique_ptr<Broker> open(const std::string& options) {
        return open_rabbitmq_broker(server_.url() + options, clock_, random_).value();
    }

    void given_topic(const std::string& options) {
        broker_ = open(options);
        publisher_ = broker_->publisher().value();
        const auto declared = publisher_->declare_topic(topic_, 1);
        ASSERT_TRUE(declared) << declared.error().message;
    }

    std::unique_ptr<Subscriber> given_member() {
        auto member = broker_->subscribe({.subscription = topic_ + ".reader",
                                          .topic = topic_,
                                          .member = "one",
                                          .member_timeout = 60s});
        EXPECT_TRUE(member) << member.error().message;
        EXPECT_TRUE(eventually([&] { return (*member)->assignments().value().size() == 1; }));
        return std::move(*member);
    }

    void publish(std::size_t count, std::size_t bytes = 10) {
        std::vector<Event> events(count);
        for (Event& event : events) {
            event.id = "e" + std::to_string(++events_made_);
            event.source = "iam";
            event.type = "user.created";
            event.key = event.id;
            event.time = clock_.now();
            event.data = std::string(bytes, 'x');
        }
        ASSERT_FALSE(
            publisher_
                ->publish({.topic = topic_, .partition = 0, .events = events, .fencing_epoch = 0})
                .failure);
    }

    KeptEvents kept() {
        const auto all = broker_->kept(topic_).value();
        EXPECT_EQ(all.size(), 1U);
        return all.front();
    }

    /// Handles what waits, so that the member can be taken back.
    static void drain(Subscriber& member, std::size_t count) {
        for (std::size_t left = count; left > 0;) {
            std::vector<Delivery> some;
            ASSERT_TRUE(eventually([&] {
                some = member.receive(left, 1 << 30).value();
                return !some.empty();
            }));
            ASSERT_TRUE(member.acknowledge(0, some.back().position));
            left -= some.size();
        }
    }

    /// Whole segments go, once the next one is begun.
    void let_the_oldest_go() {
        ASSERT_TRUE(eventually([&] {
            publish(3, 7 << 20);
            return kept().before > 0;
        }));
    }

    [[nodiscard]] std::string stream() const { return topic_ + ".p0.past"; }

    static inline int tests = 0;

    RabbitmqServer& server_ = RabbitmqServer::shared();
    SystemClock clock_;
    SystemRandom random_;
    const std::string topic_ = "past" + std::to_string(++tests);
    std::unique_ptr<Broker> broker_;
    std::unique_ptr<Publisher> publisher_;
    AmqpClient client_{server_.port()};
    int events_made_ = 0;
};

TEST_F(RabbitmqPast, IsKeptOfAllThatIsPublishedAlsoWithoutASubscription) {
    given_topic("?history=1h");
    EXPECT_EQ(kept().newest, 0U);
    EXPECT_FALSE(kept().oldest);
    publish(2500);
    EXPECT_EQ(kept().before, 0U);
    EXPECT_EQ(kept().newest, 2500U);
    EXPECT_FALSE(kept().is_trimmed);
}

TEST_F(RabbitmqPast, OfATopicThatWasThereBeforeSomeIsMissing) {
    given_topic("");
    EXPECT_EQ(broker_->kept(topic_).error().code, ErrorCode::kUnsupported);
    publish(1);
    given_topic("?history=1h");
    publish(1);
    EXPECT_TRUE(kept().is_trimmed);
    EXPECT_EQ(kept().newest, 1U);
}

TEST_F(RabbitmqPast, IsNotTakenForWholeOnceItsStreamWasDeleted) {
    given_topic("?history=1h");
    publish(1);
    client_.delete_queue(stream());
    EXPECT_EQ(broker_->kept(topic_).error().code, ErrorCode::kUnsupported);
    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    publish(1);
    EXPECT_TRUE(kept().is_trimmed);
}

TEST_F(RabbitmqPast, RefusesAnotherHistoryAndNamesTheStream) {
    given_topic("?history=1h");
    const auto other = open("?history=2h");
    const auto declared = other->publisher().value()->declare_topic(topic_, 1);
    ASSERT_FALSE(declared);
    EXPECT_EQ(declared.error().code, ErrorCode::kConflict);
    EXPECT_THAT(declared.error().message, AllOf(HasSubstr(stream()), HasSubstr("history")));
}

TEST_F(RabbitmqPast, RefusesToGoBackToWhatIsTooOld) {
    given_topic("?history=1s");
    const auto member = given_member();
    publish(1);
    drain(*member, 1);
    let_the_oldest_go();
    EXPECT_TRUE(kept().is_trimmed);
    drain(*member, static_cast<std::size_t>(events_made_) - 1);
    const auto moved = member->rewind(0, 0);
    ASSERT_FALSE(moved);
    EXPECT_EQ(moved.error().code, ErrorCode::kNotFound);
    EXPECT_TRUE(member->rewind(0, kept().before));
}

TEST_F(RabbitmqPast, PassesNothingOverThatWentWhileItWasRead) {
    given_topic("?history=1s");
    const auto member = given_member();
    publish(1);
    drain(*member, 1);
    ASSERT_TRUE(member->rewind(0, 0));
    let_the_oldest_go();
    std::string told;
    std::vector<Delivery> came;
    EXPECT_TRUE(eventually([&] {
        const auto assignments = member->assignments();
        if (assignments) {
            came = member->receive(100, 1 << 30).value();
            member->wait({}, 20ms);
        }
        told = assignments ? "" : assignments.error().message;
        return !assignments && assignments.error().code == ErrorCode::kNotFound;
    })) << told;
    EXPECT_THAT(told, AllOf(HasSubstr(stream()), HasSubstr("deleted")));
    EXPECT_THAT(came, IsEmpty());
}

}  // namespace
}  // namespace instep::test
