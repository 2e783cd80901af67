#pragma once

#include <chrono>

struct sqlite3;

namespace instep::sqlite {

/// Waits for another connection's lock: 0.1 ms at first, doubling to 1 ms, until the patience
/// is used up. SQLite's own busy time-out starts at 1 ms and goes up to 100 ms.
class LockWaiter {
public:
    explicit LockWaiter(std::chrono::microseconds patience) : patience_(patience) {}
    LockWaiter(const LockWaiter&) = delete;
    LockWaiter& operator=(const LockWaiter&) = delete;

    /// Makes the handle wait by this object, which must outlive it.
    void install(sqlite3* handle) noexcept;

    /// Sleeps as the `earlier_waits`-th wait for one lock. False if the patience is used up.
    bool wait(int earlier_waits) noexcept;

    void set_patience(std::chrono::microseconds patience) noexcept { patience_ = patience; }
    [[nodiscard]] std::chrono::microseconds patience() const noexcept { return patience_; }

private:
    std::chrono::microseconds patience_;
    std::chrono::microseconds waited_{0};
};

}  // namespace instep::sqlite
