// How far behind a service is, as its upkeep last saw it.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/broker/broker.hpp"
#include "instep/concurrency/guarded.hpp"
#include "instep/consumer/parked_counts.hpp"
#include "instep/log/reader.hpp"
#include "instep/telemetry/telemetry.hpp"

#include <map>
#include <optional>
#include <span>
#include <string>

namespace instep {

/// Safe to use from any thread.
class LagMetrics {
public:
    /// It must outlive this.
    explicit LagMetrics(const Telemetry& telemetry) : telemetry_(telemetry) {}

    void saw_log(const LogLag& lag);

    /// All partitions of the service's subscriptions.
    void saw_subscriptions(std::span<const SubscriptionLag> lags);

    /// Of all its subscriptions that have parked keys; the others that were seen have none.
    void saw_parked(std::span<const ParkedCounts> counts);

    /// Ages grow also while nobody looks.
    void measure();

private:
    /// What waits for one subscription, or for the relay, whose name is empty.
    struct Backlog {
        std::uint64_t events = 0;
        std::optional<Timestamp> oldest;
    };

    void set_age(const std::string& subscription, const Backlog& backlog);

    const Telemetry& telemetry_;
    Guarded<std::map<std::string, Backlog>> backlogs_;
};

}  // namespace instep
