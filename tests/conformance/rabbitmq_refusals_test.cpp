// A server that refuses single messages in the middle of what is sent: no key's events may be
// there in another order than they were published.
#include "instep/broker/rabbitmq/broker.hpp"
#include "tests/conformance/key_lists.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/rabbitmq_server.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace instep::test {
namespace {

using namespace std::chrono_literals;

class RabbitmqRefusals : public ::testing::TestWithParam<std::size_t> {
protected:
    /// Its queue takes so many messages and refuses more until some are gone. A classic one keeps
    /// to the number, which a quorum queue does by and by.
    void given_full_queue(const std::string& reader, std::size_t messages) {
        server_.control("set_policy --apply-to queues full '^" + reader + "' '{\"max-length\":" +
                        std::to_string(messages) + ",\"overflow\":\"reject-publish\"}'");
    }

    void TearDown() override { server_.control("clear_policy full"); }

    static inline int tests = 0;

    RabbitmqServer& server_ = RabbitmqServer::shared();
    SystemClock clock_;
    SystemRandom random_;
    const std::string topic_ = "refusals" + std::to_string(++tests);
    const std::string reader_ = topic_ + ".reader";
    std::unique_ptr<Broker> broker_ =
        open_rabbitmq_broker(server_.url() + "?queue=classic&prefetch=10", clock_, random_).value();
    std::unique_ptr<Publisher> publisher_ = broker_->publisher().value();
    KeyLists lists_;
};

TEST_P(RabbitmqRefusals, LeaveEveryKeyInItsOrder) {
    given_full_queue(reader_, 20);
    ASSERT_TRUE(publisher_->declare_topic(topic_, 1));
    const auto subscriber =
        broker_->subscribe({.subscription = reader_, .topic = topic_, .member = "one"}).value();
    const std::vector<Event> events = lists_.next(300, GetParam());
    std::atomic<int> refusals = 0;
    const std::jthread publishing([&](const std::stop_token& stop) {
        std::span<const Event> rest = events;
        while (!rest.empty() && !stop.stop_requested()) {
            const auto outcome =
                publisher_->publish({.topic = topic_, .partition = 0, .events = rest});
            rest = rest.subspan(outcome.durable);
            refusals += outcome.failure ? 1 : 0;
        }
    });

    // Nobody takes anything before the queue is full.
    ASSERT_TRUE(eventually([&] { return refusals > 0; }));
    EXPECT_TRUE(eventually([&] {
        EXPECT_TRUE(subscriber->assignments());
        const auto deliveries = subscriber->receive(10, 1 << 20).value();
        for (const Delivery& delivery : deliveries) {
            lists_.take(delivery.event);
        }
        if (!deliveries.empty()) {
            EXPECT_TRUE(subscriber->acknowledge(0, deliveries.back().position));
        } else {
            subscriber->wait({}, 5ms);
        }
        return lists_.is_complete();
    }));
    EXPECT_EQ(lists_.problem(), "");
}

INSTANTIATE_TEST_SUITE_P(Of, RabbitmqRefusals, ::testing::Values(1U, 7U, 100U),
                         [](const auto& keys) { return std::to_string(keys.param) + "keys"; });

}  // namespace
}  // namespace instep::test
