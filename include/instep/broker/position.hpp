// Where events stand, how far subscriptions have got, and what a topic still keeps.
#pragma once

#include "instep/base/clock.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace instep {

/// Where an event stands in its partition; rises, may have gaps.
using Position = std::uint64_t;

/// How far a subscription has got in one partition.
struct SubscriptionLag {
    std::string subscription;
    std::string topic;
    std::uint32_t partition = 0;
    Position acknowledged = 0;
    Position newest = 0;

    /// Events published and not acknowledged.
    std::uint64_t events = 0;

    /// When the oldest of them was appended; nothing without lag, or where the backend cannot
    /// tell.
    std::optional<Timestamp> oldest;
};

/// What a partition still holds, whoever has acknowledged it.
struct KeptEvents {
    std::uint32_t partition = 0;

    /// The lowest position that a subscription can be taken back to: all that is kept stands
    /// behind.
    Position before = 0;
    Position newest = 0;

    /// Older events have been deleted.
    bool is_trimmed = false;

    /// When the oldest that is kept was appended; nothing if there is none.
    std::optional<Timestamp> oldest;
};

}  // namespace instep
