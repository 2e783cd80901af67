// What every broker must do, as one suite that each backend runs:
//
//     INSTANTIATE_TEST_SUITE_P(Redis, BrokerConformance,
//                              ::testing::Values(BrokerCase{"redis", &make_redis_backend}));
//
// and the same for BrokerReplays, in an executable that links instep_broker_conformance. What a
// backend cannot do by its BrokerFeatures is skipped.
#pragma once

#include "instep/broker/broker.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep::test {

/// One test's own corner of a broker: a file, or names of its own on a server.
class BrokerBackend {
public:
    virtual ~BrokerBackend() = default;

    /// A connection as another process would have it. Must not use what an earlier one
    /// opened: it is also called in a forked child.
    virtual std::unique_ptr<Broker> connect() = 0;

    /// A topic or subscription name that only this test uses and that contains `name`.
    virtual std::string own_name(std::string_view name) = 0;

    /// The broker's idea of the time.
    virtual Timestamp now() = 0;

    /// Lets time pass at the broker: on its clock, or by waiting.
    virtual void let_pass(std::chrono::milliseconds time) = 0;

    /// Short, since some of the tests let it pass. Longer than a busy machine may keep a test away,
    /// where it passes by itself.
    virtual std::chrono::milliseconds member_timeout() = 0;

    /// How long nothing must arrive until nothing can be under way.
    virtual std::chrono::milliseconds quiet_time() = 0;

    /// Puts a message into the partition that is no event and whose data is `bytes`.
    virtual void publish_junk(std::string_view topic, std::uint32_t partition,
                              std::string_view bytes) = 0;
};

struct BrokerCase {
    std::string name;

    /// Returns nothing if the broker's server is not there; the tests are skipped then.
    std::unique_ptr<BrokerBackend> (*make)();
};

void PrintTo(const BrokerCase& broker, std::ostream* out);

class BrokerConformance : public ::testing::TestWithParam<BrokerCase> {
protected:
    void SetUp() override;

    BrokerBackend& backend() { return *backend_; }
    Broker& broker();
    void reopen_broker();

    /// Makes the test's topic and given_subscription("billing").
    void given_topic(std::uint32_t partitions);

    /// Where a broker keeps nothing for those who come later: makes the subscription, so that
    /// it gets what is published before a member joins.
    void given_subscription(std::string_view subscription);
    const std::string& topic() const { return topic_; }

    std::unique_ptr<Publisher> make_publisher();
    std::unique_ptr<Subscriber> join(std::string_view subscription, std::string_view member,
                                     StartAt start_at = StartAt::kEarliest);
    std::unique_ptr<Subscriber> join_to_acknowledge_late(std::string_view subscription,
                                                         std::string_view member);

    /// Events e1, e2, … of key "order-1"; another call continues the count.
    std::vector<Event> new_events(std::size_t count);

    /// Publishes and expects all to be durable; by a publisher of its own, or the one given.
    void publish(std::uint32_t partition, std::span<const Event> events);
    void publish_by(Publisher& publisher, std::uint32_t partition, std::span<const Event> events);

    /// Receives until `count` events are there or nothing comes any more.
    std::vector<Delivery> collect(Subscriber& subscriber, std::size_t count);

    /// The same, acknowledging all the while: for more than a backend must deliver without.
    std::vector<Delivery> drain(Subscriber& subscriber, std::size_t count);

    /// What still comes within the backend's quiet time.
    std::vector<Delivery> collect_rest(Subscriber& subscriber);

    /// Asks all members for their assignments until they hold `counts` partitions, or fails.
    void await_shares(std::vector<Subscriber*> members, std::vector<std::size_t> counts);

    /// The last of each partition, and so all of them.
    static void acknowledge(Subscriber& subscriber, std::span<const Delivery> deliveries);

private:
    [[nodiscard]] SubscribeOptions options_of(std::string_view subscription,
                                              std::string_view member, StartAt start_at) const;

    std::unique_ptr<BrokerBackend> backend_;
    std::unique_ptr<Broker> broker_;
    std::string topic_;
    std::uint64_t events_made_ = 0;
};

/// Of subscriptions that go back.
class BrokerReplays : public BrokerConformance {};

/// The events' ids, in order.
std::vector<std::string> ids(std::span<const Delivery> deliveries);
std::vector<std::string> ids(std::span<const Event> events);

}  // namespace instep::test
