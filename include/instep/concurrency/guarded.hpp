// A value that can be reached only under its lock.
#pragma once

#include <mutex>
#include <utility>

namespace instep {

/// Safe to use from any thread.
template <class T>
class Guarded {
public:
    Guarded() = default;
    explicit Guarded(T value) : value_(std::move(value)) {}

    /// The value, locked while this lives.
    class Locked {
    public:
        T* operator->() const noexcept { return &value_; }
        T& operator*() const noexcept { return value_; }

    private:
        friend class Guarded;
        Locked(std::mutex& mutex, T& value) : lock_(mutex), value_(value) {}

        std::unique_lock<std::mutex> lock_;
        T& value_;
    };

    [[nodiscard]] Locked lock() { return Locked(mutex_, value_); }

    /// A copy, taken under the lock.
    [[nodiscard]] T copy() const {
        const std::scoped_lock lock(mutex_);
        return value_;
    }

private:
    mutable std::mutex mutex_;
    T value_{};
};

}  // namespace instep
