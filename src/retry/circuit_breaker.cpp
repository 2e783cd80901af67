#include "instep/retry/circuit_breaker.hpp"

#include <algorithm>

namespace instep {

using std::chrono::microseconds;

std::string_view to_string(CircuitState state) noexcept {
    switch (state) {
        case CircuitState::kClosed:
            return "closed";
        case CircuitState::kOpen:
            return "open";
        case CircuitState::kHalfOpen:
            return "half_open";
    }
    return "closed";
}

CircuitBreaker::CircuitBreaker(CircuitBreakerOptions options, const Clock& clock)
    : options_(options), clock_(clock) {}

bool CircuitBreaker::try_acquire() {
    if (state_ == CircuitState::kClosed) {
        return true;
    }
    if (retry_in() > microseconds::zero()) {
        return false;
    }
    if (state_ == CircuitState::kOpen) {
        state_ = CircuitState::kHalfOpen;
        probe_successes_ = 0;
        probes_ = 0;
    } else if (probes_ == options_.probes_max) {
        probes_ = probe_successes_;
    }
    ++probes_;
    pause_until_ = clock_.monotonic() + options_.open_for;
    return true;
}

void CircuitBreaker::succeeded() {
    failures_ = 0;
    if (state_ == CircuitState::kHalfOpen && ++probe_successes_ >= options_.probes_max) {
        state_ = CircuitState::kClosed;
    }
}

void CircuitBreaker::failed() {
    const bool too_many =
        state_ == CircuitState::kClosed && ++failures_ >= options_.failures_to_open;
    if (too_many || state_ == CircuitState::kHalfOpen) {
        state_ = CircuitState::kOpen;
        failures_ = 0;
        pause_until_ = clock_.monotonic() + options_.open_for;
    }
}

void CircuitBreaker::not_called() {
    if (state_ == CircuitState::kHalfOpen && probes_ > 0) {
        --probes_;
    }
}

CircuitState CircuitBreaker::state() const { return state_; }

microseconds CircuitBreaker::retry_in() const {
    const bool paused = state_ == CircuitState::kOpen ||
                        (state_ == CircuitState::kHalfOpen && probes_ >= options_.probes_max);
    return paused ? std::max(pause_until_ - clock_.monotonic(), microseconds::zero())
                  : microseconds::zero();
}

}  // namespace instep
