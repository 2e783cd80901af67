// How long to wait before the next attempt.
#pragma once

#include "instep/base/random.hpp"

#include <chrono>
#include <cstdint>

namespace instep {

/// Exponential back-off with jitter: initial, initial × multiplier, …, max, each shortened by
/// a random part so that clients that failed together do not come back together.
struct BackoffPolicy {
    /// The delay before the second attempt, from 1 ms. Larger spares a struggling server and
    /// costs that much after a hiccup.
    std::chrono::milliseconds initial{100};

    /// Growth from one delay to the next, from 1.
    double multiplier = 2.0;

    /// No delay is longer; not below `initial`. Larger means a later return after an outage.
    std::chrono::milliseconds max{30'000};

    /// The largest part of a delay that chance may take off, 0 to 1.
    double jitter = 0.2;

    /// The delay after attempt number `attempt`, counted from 1, has failed.
    [[nodiscard]] std::chrono::milliseconds delay(std::uint32_t attempt, Random& random) const;

    friend bool operator==(const BackoffPolicy&, const BackoffPolicy&) = default;
};

}  // namespace instep
