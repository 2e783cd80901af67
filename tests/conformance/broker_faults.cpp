#include "tests/conformance/broker_faults.hpp"

#include "tests/support/eventually.hpp"

#include <fstream>
#include <ostream>
#include <span>
#include <thread>
#include <unistd.h>

namespace instep::test {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBatch = 50;

/// Also while the server is away: whoever runs a service tries until it works.
template <class Call>
auto until_done(const Call& call) {
    auto outcome = call();
    EXPECT_TRUE(eventually([&] {
        if (!outcome) {
            outcome = call();
        }
        return outcome.has_value();
    })) << outcome.error().message;
    return outcome;
}

std::size_t resident_mib() {
    std::ifstream file("/proc/self/statm");
    std::size_t size = 0;
    std::size_t resident = 0;
    file >> size >> resident;
    return resident * static_cast<std::size_t>(::getpagesize()) >> 20U;
}

}  // namespace

void PrintTo(const BrokerServerCase& broker, std::ostream* out) { *out << broker.name; }

void BrokerFaults::SetUp() {
    server_ = GetParam().make();
    broker_ = server_->connect();
    publisher_ = broker_->publisher().value();
    until_done([this] { return publisher_->declare_topic(topic_, 1); }).value();
    subscriber_ = until_done([this] {
                      return broker_->subscribe({.subscription = topic_ + ".reader",
                                                 .topic = topic_,
                                                 .member = "one",
                                                 .start_at = StartAt::kEarliest});
                  }).value();
}

void BrokerFaults::publish_batch(const std::function<void()>& failing) {
    const std::vector<Event> events = lists_.next(kBatch);
    if (failing) {
        failing();
    }
    publish_all(events);
}

void BrokerFaults::publish_all(std::span<const Event> events) {
    std::optional<Error> failure;
    ASSERT_TRUE(eventually([&] {
        const PublishOutcome outcome =
            publisher_->publish({.topic = topic_, .partition = 0, .events = events});
        events = events.subspan(outcome.durable);
        failure = outcome.failure;
        return events.empty();
    })) << failure.value_or(Error{}).message;
}

void BrokerFaults::drain(const std::function<void(int call)>& failing) {
    int calls = 0;
    std::string failure;
    const auto disturbed = [&] {
        if (failing) {
            failing(calls);
        }
        ++calls;
    };
    EXPECT_TRUE(eventually([&] {
        disturbed();
        if (const auto held = subscriber_->assignments(); !held) {
            failure = held.error().message;
            return false;
        }
        disturbed();
        const auto deliveries = subscriber_->receive(kBatch, 1 << 20);
        if (!deliveries) {
            failure = deliveries.error().message;
            return false;
        }
        for (const Delivery& delivery : *deliveries) {
            lists_.take(delivery.event);
        }
        if (deliveries->empty()) {
            subscriber_->wait({}, 5ms);
            return lists_.is_complete();
        }
        disturbed();
        const Delivery& newest = deliveries->back();
        if (const auto done = subscriber_->acknowledge(newest.partition, newest.position); !done) {
            failure = done.error().message;
        }
        return lists_.is_complete();
    })) << failure;
    EXPECT_EQ(lists_.problem(), "");
}

void BrokerFaults::run_through(int batches, const std::function<void(int call)>& disturb) {
    std::jthread publishing([this, batches] {
        for (int batch = 0; batch < batches; ++batch) {
            publish_batch();
        }
    });
    const std::uint64_t all = static_cast<std::uint64_t>(batches) * kBatch;
    while (lists_.made() < all && !HasFatalFailure()) {
        drain(disturb);
    }
    publishing.join();
    drain(disturb);
}

// A broker in a file has no server.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BrokerFaults);

TEST_P(BrokerFaults, GoesOnBehindConnectionsThatAreCutInPublish) {
    for (int round = 0; round < 20; ++round) {
        server().proxy().cut();
        publish_batch();
    }
    drain();
}

TEST_P(BrokerFaults, GoesOnBehindConnectionsThatAreCutInConsume) {
    for (int round = 0; round < 10; ++round) {
        publish_batch();
    }
    drain([this](int call) {
        if (call % 5 == 4 && call < 100) {
            server().proxy().cut();
        }
    });
}

TEST_P(BrokerFaults, LosesNothingWithTheAcknowledgementOfAPublish) {
    for (std::uint64_t answer = 1; answer <= 10; ++answer) {
        publish_batch([&] { server().proxy().lose_answer(answer); });
        server().proxy().restore();
    }
    drain();
}

TEST_P(BrokerFaults, LosesNothingWithAnswersToASubscriber) {
    for (int round = 0; round < 10; ++round) {
        publish_batch();
    }
    drain([this](int call) {
        if (call % 4 == 3 && call < 80) {
            server().proxy().lose_answer(1 + static_cast<std::uint64_t>(call) % 3);
        }
    });
}

TEST_P(BrokerFaults, GoesOnBehindConnectionsThatEndAnywhere) {
    server().proxy().cut_at_random(60'000);
    for (int round = 0; round < 10; ++round) {
        publish_batch();
    }
    drain([this](int call) {
        if (call == 100) {
            server().proxy().restore();
        }
    });
}

TEST_P(BrokerFaults, KeepsOrderOverSlowAndThrottledConnections) {
    server().proxy().delay(2ms);
    server().proxy().throttle(500'000);
    run_through(10, {});
}

TEST_P(BrokerFaults, EndsACallThatNobodyAnswers) {
    publish_batch();
    server().proxy().stall();
    const auto start = std::chrono::steady_clock::now();
    const std::vector<Event> events = lists().next(1);
    const PublishOutcome outcome =
        publisher().publish({.topic = topic(), .partition = 0, .events = events});
    EXPECT_EQ(outcome.durable, 0);
    ASSERT_TRUE(outcome.failure);
    EXPECT_TRUE(is_retryable(outcome.failure->code)) << outcome.failure->message;
    EXPECT_LT(std::chrono::steady_clock::now() - start, kPatience);
    server().proxy().restore();
    publish_all(events);
    drain();
}

TEST_P(BrokerFaults, RefusesWhileItIsDownAndDrainsInOrderAfterwards) {
    publish_batch();
    server().proxy().take_down();
    const std::vector<Event> events = lists().next(3 * kBatch);
    const PublishOutcome refused =
        publisher().publish({.topic = topic(), .partition = 0, .events = events});
    EXPECT_EQ(refused.durable, 0);
    ASSERT_TRUE(refused.failure);
    EXPECT_TRUE(is_retryable(refused.failure->code)) << refused.failure->message;
    const auto received = subscriber().receive(10, 1 << 20);
    EXPECT_TRUE(!received || received->size() <= 10);
    if (received) {
        for (const Delivery& delivery : *received) {
            lists().take(delivery.event);
        }
    }
    server().proxy().restore();
    publish_all(events);
    drain();
}

TEST_P(BrokerFaults, CanBeReachedLaterThanItIsNeeded) {
    publish_batch();
    server().proxy().take_down();
    const auto late = server().connect();
    if (late != nullptr) {
        const auto lag = late->lag(topic());
        ASSERT_FALSE(lag);
        EXPECT_EQ(lag.error().code, ErrorCode::kUnavailable) << lag.error().message;
        server().proxy().restore();
        EXPECT_TRUE(until_done([&] { return late->lag(topic()); }));
    }
    server().proxy().restore();
    drain();
}

TEST_P(BrokerFaults, KeepsEverythingOverARestart) {
    run_through(30, [this, restarts = 0](int call) mutable {
        if (call % 40 == 39 && restarts < 2) {
            ++restarts;
            server().stop();
            server().start();
        }
    });
}

TEST_P(BrokerFaults, KeepsWhatWasConfirmedWhenItIsKilled) {
    run_through(30, [this, kills = 0](int call) mutable {
        if (call % 40 == 39 && kills < 2) {
            ++kills;
            server().kill();
            server().start();
        }
    });
}

TEST_P(BrokerFaults, HoldsNoMoreThanItWasAskedForOfALargeBacklog) {
    const auto before = resident_mib();
    for (int round = 0; round < 60; ++round) {
        std::vector<Event> events = lists().next(4);
        for (Event& event : events) {
            event.data.resize(500'000, ' ');
        }
        const PublishOutcome outcome =
            publisher().publish({.topic = topic(), .partition = 0, .events = events});
        ASSERT_EQ(outcome.durable, events.size());
    }
    std::size_t most = 0;
    std::size_t received = 0;
    ASSERT_TRUE(eventually([&] {
        const auto held = subscriber().assignments();
        const auto deliveries = subscriber().receive(500, 2 << 20);
        if (!held || !deliveries || deliveries->empty()) {
            return false;
        }
        received += deliveries->size();
        most = std::max(most, resident_mib());
        const Delivery& newest = deliveries->back();
        EXPECT_TRUE(subscriber().acknowledge(newest.partition, newest.position));
        return received >= 240;
    })) << received;
    EXPECT_LT(most, before + 64) << "MiB, of a backlog of 115 MiB";
}

}  // namespace instep::test
