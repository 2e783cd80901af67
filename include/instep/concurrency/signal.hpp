// Wakes threads that wait for something to happen in this process.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>

namespace instep {

/// A count that rises with everything that happened. Safe to call from any thread.
class Signal {
public:
    /// Counts one more and wakes whoever waits.
    void notify() {
        {
            const std::scoped_lock lock(mutex_);
            ++count_;
        }
        changed_.notify_all();
    }

    /// How often notify() was called; read it before looking for what may have happened.
    [[nodiscard]] std::uint64_t count() const {
        const std::scoped_lock lock(mutex_);
        return count_;
    }

    /// Returns on a notify() that count() has not shown as `seen`, after `patience`, or on stop.
    void wait(const std::stop_token& stop, std::uint64_t seen, std::chrono::milliseconds patience) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, stop, patience, [&] { return count_ != seen; });
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    std::uint64_t count_ = 0;
};

}  // namespace instep
