// Whether the members of a subscription heed what holds all of them back together: somebody's
// pause, and the rate that they share.
#pragma once

#include "instep/event/event.hpp"
#include "tests/simulation/findings.hpp"
#include "tests/simulation/sim_database.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace instep::simulation {

/// Borrows the database, the scheduler and the findings.
class FlowWatch {
public:
    /// `rate_limit`: events in a second; 0 for no limit.
    FlowWatch(const SimDatabase& database, std::string subscription, std::uint32_t rate_limit,
              Findings& findings)
        : database_(database),
          subscription_(std::move(subscription)),
          rate_limit_(rate_limit),
          findings_(findings) {}

    /// After each commit of the database.
    void look();

    /// The process that runs tries the event, in a step that began then.
    void tried(const Event& event, std::chrono::microseconds step_began);

private:
    /// What a member has taken from the rate and not yet replaced.
    struct Share {
        std::chrono::microseconds taken{0};

        /// From when at the earliest the events are paid for, and until when.
        std::chrono::microseconds from{0};
        std::chrono::microseconds until{0};
        std::set<std::string> events{};
    };

    [[nodiscard]] std::chrono::microseconds an_event() const {
        return std::chrono::microseconds{std::chrono::seconds{1}} / rate_limit_;
    }
    void take_share(std::chrono::microseconds until);
    void check_share(const Event& event, std::chrono::microseconds step_began);

    const SimDatabase& database_;
    const std::string subscription_;
    const std::uint32_t rate_limit_;
    Findings& findings_;
    std::optional<std::chrono::microseconds> paused_;

    /// The events before are paid for then, as time since the run began.
    std::chrono::microseconds rate_until_{0};
    std::map<std::string, Share, std::less<>> shares_;
};

}  // namespace instep::simulation
