// Keeps calls below a rate, with room for a burst: a token bucket.
#pragma once

#include "instep/base/clock.hpp"

#include <chrono>

namespace instep {

/// How much a rate limiter lets through.
struct RateLimit {
    /// Tokens that come back each second, above 0.
    double per_second = 100;

    /// Tokens that can be saved up, from 1. Larger lets a longer burst through at once.
    double burst = 100;
};

/// Starts full. For one thread at a time. Borrows the clock.
class RateLimiter {
public:
    RateLimiter(RateLimit limit, const Clock& clock);

    /// Takes the tokens if they are there, all or none. More than `burst` never are.
    [[nodiscard]] bool try_acquire(double tokens = 1);

    /// How long until so many tokens are there; zero if they are.
    [[nodiscard]] std::chrono::microseconds available_in(double tokens = 1) const;

private:
    [[nodiscard]] double level() const;

    RateLimit limit_;
    const Clock& clock_;
    double level_;
    std::chrono::microseconds measured_at_;
};

}  // namespace instep
