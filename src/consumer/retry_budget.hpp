// How much of a consumer's time goes to parked keys while other events wait.
#pragma once

#include <algorithm>
#include <chrono>

namespace instep {

/// Tries that took a time are followed by as many times that much for others. Where nothing else
/// waits, nobody asks.
class RetryBudget {
public:
    /// So that ten thousand keys that fail again and again cost the others about 5 %.
    static constexpr int kOthersShare = 19;

    [[nodiscard]] bool is_open() const { return owed_.count() == 0; }

    /// Parked keys were tried for so long, while other events waited.
    void tried(std::chrono::microseconds time) { owed_ += std::max(time, kNone) * kOthersShare; }

    /// Other events were applied for so long.
    void applied(std::chrono::microseconds time) { owed_ -= std::clamp(time, kNone, owed_); }

    /// Nothing else waits.
    void idle() { owed_ = kNone; }

private:
    static constexpr std::chrono::microseconds kNone{0};
    std::chrono::microseconds owed_{0};
};

}  // namespace instep
