#include "instep/retry/rate_limiter.hpp"

#include <algorithm>

namespace instep {

using Seconds = std::chrono::duration<double>;
using std::chrono::microseconds;

RateLimiter::RateLimiter(RateLimit limit, const Clock& clock)
    : limit_(limit), clock_(clock), level_(limit.burst), measured_at_(clock.monotonic()) {}

bool RateLimiter::try_acquire(double tokens) {
    if (available_in(tokens) > microseconds::zero()) {
        return false;
    }
    level_ = level() - tokens;
    measured_at_ = clock_.monotonic();
    return true;
}

microseconds RateLimiter::available_in(double tokens) const {
    if (tokens > limit_.burst) {
        return microseconds::max();
    }
    const double missing = std::max(tokens - level(), 0.0);
    return std::chrono::ceil<microseconds>(Seconds(missing / limit_.per_second));
}

double RateLimiter::level() const {
    const Seconds elapsed = clock_.monotonic() - measured_at_;
    return std::min(level_ + elapsed.count() * limit_.per_second, limit_.burst);
}

}  // namespace instep
