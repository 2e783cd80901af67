#include "instep/retry/backoff.hpp"

#include <algorithm>
#include <cmath>

namespace instep {

std::chrono::milliseconds BackoffPolicy::delay(std::uint32_t attempt, Random& random) const {
    using Milliseconds = std::chrono::duration<double, std::milli>;
    const double failures_before = attempt == 0 ? 0 : attempt - 1;
    const Milliseconds grown = Milliseconds(initial) * std::pow(multiplier, failures_before);
    const Milliseconds full = std::min(grown, Milliseconds(max));
    return std::chrono::round<std::chrono::milliseconds>(full * (1.0 - jitter * random.unit()));
}

}  // namespace instep
