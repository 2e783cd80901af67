// Spares a target that is down: after some failures in a row no call is made for a while,
// then a few probes find out whether it is back.
//
//   state      may call           a success                     a failure
//   closed     always             forgets failures before       opens after failures_to_open
//   open       no; half-open      ignored: it began before      ignored
//              after open_for
//   half-open  probes_max calls   closes after probes_max       opens again
#pragma once

#include "instep/base/clock.hpp"

#include <chrono>
#include <cstdint>
#include <string_view>

namespace instep {

/// What a circuit breaker currently allows.
enum class CircuitState : std::uint8_t { kClosed, kOpen, kHalfOpen };

/// "closed", "open" or "half_open", as in logs and metrics.
std::string_view to_string(CircuitState state) noexcept;

/// When to stop calling and how to begin again.
struct CircuitBreakerOptions {
    /// Failures in a row that open the circuit, from 1. Larger means more calls in vain.
    std::uint32_t failures_to_open = 5;

    /// How long nothing is called, from 1 ms. Larger means a later return.
    std::chrono::milliseconds open_for{5000};

    /// Calls let through to find out, and successes needed to close, from 1.
    std::uint32_t probes_max = 1;
};

/// For one thread at a time. Borrows the clock.
class CircuitBreaker {
public:
    CircuitBreaker(CircuitBreakerOptions options, const Clock& clock);

    /// Whether to make the call now. The caller reports how a permitted call ended; a probe
    /// that is never reported is written off after `open_for`.
    [[nodiscard]] bool try_acquire();

    void succeeded();
    void failed();

    /// The permitted call was not made after all: another may be.
    void not_called();

    [[nodiscard]] CircuitState state() const;

    /// When try_acquire() may next say yes; zero if it may now.
    [[nodiscard]] std::chrono::microseconds retry_in() const;

private:
    CircuitBreakerOptions options_;
    const Clock& clock_;
    CircuitState state_ = CircuitState::kClosed;
    std::uint32_t failures_ = 0;
    std::uint32_t probes_ = 0;
    std::uint32_t probe_successes_ = 0;
    std::chrono::microseconds pause_until_{0};
};

}  // namespace instep
