// What the state of services means: what is behind, what does not move, what waits for a person.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/config/service_file.hpp"
#include "instep/service/service.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace instep::cli {

/// A flow whose oldest waiting event is older is unhealthy, unless somebody says otherwise.
inline constexpr std::chrono::milliseconds kLagMax{60'000};

/// A service file and what its database and broker show.
struct ObservedService {
    ServiceConfig config;
    ServiceStatus status;
};

/// As read_status() for each. Errors name the service.
Result<std::vector<ObservedService>> observe(std::vector<ServiceConfig> configs, const Clock& clock,
                                             Brokers& brokers);

/// Something that moves events, as status lists it.
struct FlowHealth {
    /// "relay of iam", "data-owner.lookup_users".
    std::string name;

    /// "caught up", "behind", "no holder", "new", "filling", "refused", "replaying", "parked" or
    /// "broken" (broker_problems.hpp); or the kind of its halt: "paused", "circuit_open",
    /// "failed_event" or "parked_limit".
    std::string state;
    std::uint64_t lag_events = 0;

    /// Age of the oldest event that waits; nothing without lag.
    std::optional<std::chrono::microseconds> age;

    /// Why it is unhealthy or not caught up, for the sentence; empty if it is caught up.
    std::string remark;
    bool unhealthy = false;
};

struct Health {
    std::vector<FlowHealth> flows;

    /// Nothing waits anywhere, and every replica is live. Whether something is paused is another
    /// matter.
    bool caught_up = true;

    /// Something has work and does not do it, or waits for a person.
    bool healthy = true;

    /// "All 3 replicas are caught up.", or what is not.
    std::string sentence;
};

Health judge_health(const std::vector<ObservedService>& services, Timestamp now,
                    std::chrono::milliseconds lag_max = kLagMax);

}  // namespace instep::cli
