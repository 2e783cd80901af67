#pragma once

#include "instep/base/clock.hpp"

#include <atomic>
#include <chrono>

namespace instep::test {

/// Stands still until the test moves it. Starts on 2026-03-01 09:30 UTC.
class ManualClock final : public Clock {
public:
    [[nodiscard]] Timestamp now() const override { return kStart + monotonic(); }
    [[nodiscard]] std::chrono::microseconds monotonic() const override {
        return std::chrono::microseconds(elapsed_.load());
    }

    void advance(std::chrono::microseconds time) { elapsed_ += time.count(); }

private:
    static constexpr Timestamp kStart{std::chrono::microseconds(1'772'357'400'000'000)};

    std::atomic<std::chrono::microseconds::rep> elapsed_ = 0;
};

}  // namespace instep::test
