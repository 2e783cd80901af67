// Draws what goes wrong.
#pragma once

#include "instep/base/error.hpp"
#include "tests/simulation/options.hpp"
#include "tests/simulation/scheduler.hpp"

#include <string_view>

namespace instep::simulation {

/// Borrows the scheduler and the random numbers. Nothing goes wrong before begin().
class Chaos {
public:
    Chaos(Scheduler& scheduler, Random& random) : scheduler_(scheduler), random_(random) {}

    void begin(const Faults& faults) { faults_ = faults; }

    /// Nothing goes wrong any more.
    void end() { faults_ = Faults{}; }

    /// Every call of a process begins here: others may run, and the process may stand still or
    /// die. kClosed if it is dead already and only unwinds.
    Result<void> enter_call();

    /// Inside a transaction: as enter_call(), without standing still.
    Result<void> enter_step();

    /// The process may die here.
    Result<void> may_crash();

    /// True as often as the fault's probability says.
    bool strikes(double Faults::* fault) { return random_.unit() < faults_.*fault; }

    [[nodiscard]] Random& random() const noexcept { return random_; }
    [[nodiscard]] Scheduler& scheduler() const noexcept { return scheduler_; }

private:
    Scheduler& scheduler_;
    Random& random_;
    Faults faults_;
};

}  // namespace instep::simulation
