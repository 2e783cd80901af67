#include "bench/round_trip.hpp"

#include "bench/bench.hpp"
#include "bench/comparison.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace instep::bench {

namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

/// The first ones make connections and threads known to each other.
constexpr std::size_t kWarmUp = 50;
constexpr std::size_t kEvents = 1000;
constexpr std::chrono::milliseconds kPause{5};

const std::string kTopic = "bench.round_trip";

Event make_event(std::size_t number) {
    Event event;
    event.id = fmt::format("0190d3f0-0000-7000-8000-{:012}", number);
    event.source = "bench";
    event.type = "bench.sent";
    event.key = fmt::format("key-{}", number);
    event.version = {.epoch = 1, .batch = number + 1, .index = 0};
    event.incarnation = 1;
    event.operation = Operation::kUpsert;
    event.data = std::string(250, 'x');
    return event;
}

/// When each event came.
std::vector<SteadyTime> receive_all(Subscriber& member) {
    std::vector<SteadyTime> arrivals;
    while (arrivals.size() < kWarmUp + kEvents) {
        must(member.assignments());
        const auto deliveries = must(member.receive(100, 1U << 20U));
        arrivals.resize(arrivals.size() + deliveries.size(), std::chrono::steady_clock::now());
        if (deliveries.empty()) {
            member.wait({}, std::chrono::milliseconds(100));
        } else {
            must(member.acknowledge(0, deliveries.back().position));
        }
    }
    return arrivals;
}

std::string quantiles(const std::vector<SteadyTime>& from, const std::vector<SteadyTime>& to) {
    std::vector<double> millis;
    for (std::size_t i = kWarmUp; i < from.size(); ++i) {
        millis.push_back(std::chrono::duration<double, std::milli>(to[i] - from[i]).count());
    }
    return fmt::format("p50 {:.2f} ms, p99 {:.2f} ms", quantile_of(millis, 0.5),
                       quantile_of(millis, 0.99));
}

}  // namespace

void measure_round_trip(Broker& broker) {
    const auto publisher = must(broker.publisher());
    must(publisher->declare_topic(kTopic, 1));
    const auto member = must(
        broker.subscribe({.subscription = kTopic + ".member", .topic = kTopic, .member = "bench"}));
    std::vector<SteadyTime> sent;
    std::vector<SteadyTime> confirmed;
    std::vector<SteadyTime> received;
    {
        const std::jthread receiver([&] { received = receive_all(*member); });
        for (std::size_t i = 0; i < kWarmUp + kEvents; ++i) {
            const Event event = make_event(i);
            sent.push_back(std::chrono::steady_clock::now());
            const PublishOutcome outcome = publisher->publish({kTopic, 0, {&event, 1}, 1});
            confirmed.push_back(std::chrono::steady_clock::now());
            if (outcome.failure) {
                throw std::runtime_error(outcome.failure->message);
            }
            std::this_thread::sleep_for(kPause);
        }
    }
    fmt::print(
        "the broker alone, {} events one by one\n"
        "  publish to confirm: {}\n"
        "  publish to receive: {}\n",
        kEvents, quantiles(sent, confirmed), quantiles(sent, received));
}

}  // namespace instep::bench
