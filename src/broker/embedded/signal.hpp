#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>

namespace instep::embedded_broker {

/// Tells the waiting threads of this process that something was published.
class Signal {
public:
    void notify() {
        {
            const std::scoped_lock lock(mutex_);
            ++count_;
        }
        changed_.notify_all();
    }

    [[nodiscard]] std::uint64_t count() const {
        const std::scoped_lock lock(mutex_);
        return count_;
    }

    /// Returns on a notify() that count() has not shown as `seen`, after `patience`, or on stop.
    void wait(std::stop_token stop, std::uint64_t seen, std::chrono::milliseconds patience) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, stop, patience, [&] { return count_ != seen; });
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    std::uint64_t count_ = 0;
};

}  // namespace instep::embedded_broker
