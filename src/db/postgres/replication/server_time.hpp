// Times in the replication protocol: microseconds since 2000-01-01 in UTC.
#pragma once

#include "instep/base/clock.hpp"

#include <chrono>
#include <cstdint>

namespace instep::replication {

inline constexpr std::int64_t kServerEpochUs = 946'684'800'000'000;

/// Any 64 bits are taken; those that no calendar has wrap around.
inline Timestamp from_server_time(std::uint64_t micros) {
    return Timestamp{std::chrono::microseconds{
        static_cast<std::int64_t>(micros + static_cast<std::uint64_t>(kServerEpochUs))}};
}

inline std::uint64_t to_server_time(Timestamp time) {
    return static_cast<std::uint64_t>(time.time_since_epoch().count()) -
           static_cast<std::uint64_t>(kServerEpochUs);
}

}  // namespace instep::replication
