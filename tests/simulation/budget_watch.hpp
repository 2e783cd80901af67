// Whether a consumer spares the events that wait while it tries parked keys again, seen from the
// handler that it calls. What tries took can be seen in part only, and what others took is seen as
// more than it was, so nothing is reported that keeps the share.
#pragma once

#include "tests/simulation/findings.hpp"
#include "tests/simulation/scheduler.hpp"

#include <chrono>
#include <cstdint>
#include <optional>

namespace instep::simulation {

/// Of one consumer. Borrows the scheduler and the findings.
class BudgetWatch {
public:
    BudgetWatch(const Scheduler& scheduler, Findings& findings)
        : scheduler_(scheduler), findings_(findings) {}

    void step_began();

    enum class Tried : std::uint8_t { kParked, kNew };

    /// To be called when the handler is.
    void tried(Tried what);

    enum class Outcome : std::uint8_t { kDone, kFailed };
    void step_ended(Outcome outcome);

private:
    [[nodiscard]] std::chrono::microseconds now() const { return scheduler_.clock().monotonic(); }

    const Scheduler& scheduler_;
    Findings& findings_;
    std::chrono::microseconds began_{0};
    std::optional<std::chrono::microseconds> first_parked_;
    std::chrono::microseconds last_parked_{0};
    bool tried_new_ = false;

    /// Others are to have so much time before parked keys are tried while they wait.
    std::chrono::microseconds owed_{0};
};

}  // namespace instep::simulation
