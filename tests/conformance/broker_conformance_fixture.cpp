#include "tests/conformance/broker_conformance.hpp"
#include "tests/support/eventually.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <ostream>

namespace instep::test {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kReceiveEvents = 500;
constexpr std::size_t kReceiveBytes = 4 << 20;

void append(std::vector<Delivery>& all, std::vector<Delivery> more) {
    std::ranges::move(more, std::back_inserter(all));
}

}  // namespace

void PrintTo(const BrokerCase& broker, std::ostream* out) { *out << broker.name; }

void BrokerConformance::SetUp() {
    backend_ = GetParam().make();
    ASSERT_NE(backend_, nullptr) << "no " << GetParam().name << " to test with";
    topic_ = backend_->own_name("orders");
}

Broker& BrokerConformance::broker() {
    if (broker_ == nullptr) {
        broker_ = backend_->connect();
    }
    return *broker_;
}

void BrokerConformance::reopen_broker() { broker_.reset(); }

void BrokerConformance::given_topic(std::uint32_t partitions) {
    const auto declared = make_publisher()->declare_topic(topic_, partitions);
    ASSERT_TRUE(declared) << declared.error().message;
    given_subscription("billing");
}

void BrokerConformance::given_subscription(std::string_view subscription) {
    if (!broker().features().replays) {
        join(subscription, "made for it").reset();
    }
}

std::unique_ptr<Publisher> BrokerConformance::make_publisher() {
    return broker().publisher().value();
}

std::unique_ptr<Subscriber> BrokerConformance::join(std::string_view subscription,
                                                    std::string_view member, StartAt start_at) {
    return broker().subscribe(options_of(subscription, member, start_at)).value();
}

std::unique_ptr<Subscriber> BrokerConformance::join_to_acknowledge_late(
    std::string_view subscription, std::string_view member) {
    SubscribeOptions options = options_of(subscription, member, StartAt::kEarliest);
    options.acknowledges_late = true;
    return broker().subscribe(std::move(options)).value();
}

SubscribeOptions BrokerConformance::options_of(std::string_view subscription,
                                               std::string_view member, StartAt start_at) const {
    return {.subscription = backend_->own_name(subscription),
            .topic = topic_,
            .member = std::string(member),
            .start_at = start_at,
            .member_timeout = backend_->member_timeout()};
}

std::vector<Event> BrokerConformance::new_events(std::size_t count) {
    std::vector<Event> events(count);
    for (Event& event : events) {
        ++events_made_;
        event.id = "e" + std::to_string(events_made_);
        event.source = "shop";
        event.type = "order.placed";
        event.key = "order-1";
        event.time = backend_->now();
        event.version = {.epoch = 1, .batch = events_made_, .index = 0};
        event.incarnation = 77;
        event.data = R"({"total":)" + std::to_string(events_made_) + "}";
    }
    return events;
}

void BrokerConformance::publish(std::uint32_t partition, std::span<const Event> events) {
    publish_by(*make_publisher(), partition, events);
}

void BrokerConformance::publish_by(Publisher& publisher, std::uint32_t partition,
                                   std::span<const Event> events) {
    const auto outcome = publisher.publish(
        {.topic = topic_, .partition = partition, .events = events, .fencing_epoch = 0});
    ASSERT_FALSE(outcome.failure) << outcome.failure->message;
    ASSERT_EQ(outcome.durable, events.size());
}

std::vector<Delivery> BrokerConformance::collect(Subscriber& subscriber, std::size_t count) {
    std::vector<Delivery> all;
    EXPECT_TRUE(eventually([&] {
        EXPECT_TRUE(subscriber.assignments());
        append(all, subscriber.receive(kReceiveEvents, kReceiveBytes).value());
        if (all.size() < count) {
            subscriber.wait({}, 20ms);
        }
        return all.size() >= count;
    })) << all.size()
        << " of " << count << " events came";
    return all;
}

std::vector<Delivery> BrokerConformance::drain(Subscriber& subscriber, std::size_t count) {
    std::vector<Delivery> all;
    while (all.size() < count && !HasFailure()) {
        auto more = collect(subscriber, 1);
        acknowledge(subscriber, more);
        append(all, std::move(more));
    }
    return all;
}

std::vector<Delivery> BrokerConformance::collect_rest(Subscriber& subscriber) {
    std::vector<Delivery> all;
    for (bool is_quiet = false; !is_quiet;) {
        EXPECT_TRUE(subscriber.assignments());
        subscriber.wait({}, backend_->quiet_time());
        auto more = subscriber.receive(kReceiveEvents, kReceiveBytes).value();
        is_quiet = more.empty();
        append(all, std::move(more));
    }
    return all;
}

void BrokerConformance::await_shares(std::vector<Subscriber*> members,
                                     std::vector<std::size_t> counts) {
    std::vector<std::size_t> held;
    ASSERT_TRUE(eventually([&] {
        held.clear();
        for (Subscriber* member : members) {
            held.push_back(member->assignments().value().size());
        }
        return held == counts;
    })) << ::testing::PrintToString(held);
}

void BrokerConformance::acknowledge(Subscriber& subscriber, std::span<const Delivery> deliveries) {
    std::map<std::uint32_t, Position> newest;
    for (const Delivery& delivery : deliveries) {
        newest[delivery.partition] = delivery.position;
    }
    for (const auto& [partition, position] : newest) {
        const auto done = subscriber.acknowledge(partition, position);
        ASSERT_TRUE(done) << done.error().message;
    }
}

std::vector<std::string> ids(std::span<const Delivery> deliveries) {
    std::vector<std::string> ids;
    for (const Delivery& delivery : deliveries) {
        ids.push_back(delivery.event.id);
    }
    return ids;
}

std::vector<std::string> ids(std::span<const Event> events) {
    std::vector<std::string> ids;
    for (const Event& event : events) {
        ids.push_back(event.id);
    }
    return ids;
}

}  // namespace instep::test
