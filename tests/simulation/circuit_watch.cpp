#include "tests/simulation/circuit_watch.hpp"

#include <fmt/format.h>

namespace instep::simulation {

Result<ApplyCounts> CircuitWatch::apply(Transaction& transaction,
                                        std::span<const Event* const> events) {
    check(events.size());
    auto applied = inner_->apply(transaction, events);
    if (!applied && applied.error().code == ErrorCode::kUnavailable) {
        was_down_ = true;
        failed_ = scheduler_.clock().monotonic();
    } else if (!applied || applied->applied > 0 || applied->discarded > 0) {
        answered_ = true;
    }
    return applied;
}

void CircuitWatch::check(std::size_t events) {
    if (failures_ < circuit_.failures_to_open) {
        return;
    }
    if (scheduler_.clock().monotonic() < failed_ + circuit_.open_for && !was_down_) {
        findings_.report(
            fmt::format("the handler is called although its circuit is open, {} us "
                        "behind the failure",
                        (scheduler_.clock().monotonic() - failed_).count()));
    }
    if (events > 1) {
        findings_.report(fmt::format("a probe of {} events", events));
    }
}

void CircuitWatch::step_ended() {
    if (was_down_) {
        ++failures_;
    } else if (answered_) {
        failures_ = 0;
    }
    was_down_ = false;
    answered_ = false;
}

}  // namespace instep::simulation
