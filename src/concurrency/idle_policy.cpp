#include "instep/concurrency/idle_policy.hpp"

#include <algorithm>

namespace instep {

void IdlePolicy::worked(std::chrono::microseconds now) {
    last_work_ = now;
    wait_ = options_.alert_wait;
}

std::chrono::milliseconds IdlePolicy::next_wait(std::chrono::microseconds now) {
    if (now - last_work_ > options_.alert_for) {
        wait_ = std::min(std::max(wait_, options_.alert_wait) * 2, options_.idle_max);
    }
    return wait_;
}

}  // namespace instep
