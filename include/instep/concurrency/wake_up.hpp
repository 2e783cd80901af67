// A wait for input that a stop ends.
#pragma once

#include <chrono>
#include <stop_token>

namespace instep {

/// Waits for a descriptor or a stop, whichever comes first. For one thread at a time.
class WakeUp {
public:
    WakeUp();
    WakeUp(const WakeUp&) = delete;
    WakeUp& operator=(const WakeUp&) = delete;
    ~WakeUp();

    /// Returns when `descriptor`, which may be -1, can be read, on stop, or after `patience`.
    void wait(int descriptor, const std::stop_token& stop, std::chrono::milliseconds patience);

private:
    int event_;
};

}  // namespace instep
