// Time comes from here and nowhere else, so that tests and the simulation can own it.
#pragma once

#include "instep/base/error.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace instep {

/// Wall-clock time in UTC. Stored and sent as microseconds since 1970.
using Timestamp = std::chrono::sys_time<std::chrono::microseconds>;

/// Safe to call from any thread.
class Clock {
public:
    virtual ~Clock() = default;

    /// Wall-clock time. May jump.
    [[nodiscard]] virtual Timestamp now() const = 0;

    /// Time since an arbitrary start; never goes back. For delays, never for storage.
    [[nodiscard]] virtual std::chrono::microseconds monotonic() const = 0;
};

/// The clocks of this machine.
class SystemClock final : public Clock {
public:
    [[nodiscard]] Timestamp now() const override;
    [[nodiscard]] std::chrono::microseconds monotonic() const override;
};

/// RFC 3339 in UTC with six decimals: "2026-03-01T09:30:00.000000Z".
std::string format_time(Timestamp time);

/// Reads RFC 3339 with any offset and 0 to 9 decimals. Errors: kInvalidArgument.
Result<Timestamp> parse_time(std::string_view text);

}  // namespace instep
