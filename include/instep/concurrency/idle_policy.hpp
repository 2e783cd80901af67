// How long a loop waits between two looks for work: hardly at all while work comes, longer
// and longer while none does.
#pragma once

#include <chrono>

namespace instep {

/// How eagerly a loop looks for work.
struct IdleOptions {
    /// Between looks while alert. Shorter: quicker, and more CPU while work comes.
    std::chrono::milliseconds alert_wait{1};

    /// How long after the last work the loop stays alert.
    std::chrono::milliseconds alert_for{100};

    /// The longest wait. Longer: less CPU when idle, a later start after silence.
    std::chrono::milliseconds idle_max{100};
};

/// Pure arithmetic; for one thread at a time.
class IdlePolicy {
public:
    explicit IdlePolicy(IdleOptions options = {}) : options_(options) {}

    /// There was work at `now`, a monotonic time.
    void worked(std::chrono::microseconds now);

    /// There was none: how long to wait before the next look.
    std::chrono::milliseconds next_wait(std::chrono::microseconds now);

private:
    IdleOptions options_;
    std::chrono::microseconds last_work_{std::chrono::microseconds::min() / 2};
    std::chrono::milliseconds wait_{1};
};

}  // namespace instep
