#include "waiting.hpp"

#include "output.hpp"

#include <fmt/format.h>

namespace instep::cli {

Result<void> wait_until(const WaitFor& what, std::optional<std::chrono::milliseconds> timeout,
                        const Interrupt& interrupt, const Clock& clock) {
    constexpr std::chrono::milliseconds kPause{100};
    const auto start = clock.monotonic();
    for (;;) {
        const Result<bool> done = what.done();
        if (!done && !is_retryable(done.error().code)) {
            return std::unexpected(done.error());
        }
        if (done && *done) {
            return {};
        }
        if (timeout && clock.monotonic() - start >= *timeout) {
            const std::string obstacle = done ? what.describe() : done.error().message;
            return fail(ErrorCode::kTimeout,
                        fmt::format("not done after {}: {}", rounded(*timeout), obstacle));
        }
        if (interrupt.wait_for(kPause)) {
            return fail(ErrorCode::kClosed, "interrupted: " + what.describe());
        }
    }
}

}  // namespace instep::cli
