// SIGINT, SIGTERM and SIGHUP as something to wait for. The first asks for an orderly end; a second
// SIGINT or SIGTERM ends the process at once, with exit code 130.
#pragma once

#include <chrono>

namespace instep::cli {

/// Takes the signals over while it lives. One at a time in a process; make it before the
/// first thread.
class Interrupt {
public:
    Interrupt();
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;
    ~Interrupt();

    [[nodiscard]] bool requested() const noexcept;

    /// Returns when a signal has come, or after `patience`. True if one has.
    bool wait_for(std::chrono::milliseconds patience) const noexcept;

    /// Returns when a signal has come.
    void wait() const noexcept;
};

}  // namespace instep::cli
