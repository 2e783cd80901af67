// Waiting for something that another loop or process brings about.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "interrupt.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace instep::cli {

struct WaitFor {
    /// True once it has come about. A retryable error counts as "not yet".
    std::function<Result<bool>()> done;

    /// What it waits for, and what may be in the way; for the message of a timeout.
    std::function<std::string()> describe;
};

/// Asks ten times a second. Errors: kTimeout; kClosed when interrupted; those of `done`.
Result<void> wait_until(const WaitFor& what, std::optional<std::chrono::milliseconds> timeout,
                        const Interrupt& interrupt, const Clock& clock);

}  // namespace instep::cli
