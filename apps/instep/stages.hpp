// Where the events of each subscription wait: in the owner's log, at the broker, or parked.
#pragma once

#include "health.hpp"
#include "output.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace instep::cli {

/// What waits at one place.
struct Waiting {
    std::uint64_t events = 0;

    /// When the oldest of them was appended, or parked; nothing if there is none, or nobody can
    /// tell.
    std::optional<Timestamp> oldest;
};

struct SubscriptionStages {
    std::string subscription;
    std::string topic;

    /// Committed, and not yet at the broker; nothing if the topic's owner is not among the services
    /// looked at.
    std::optional<Waiting> in_log;

    /// At the broker, and not yet applied. Without a broker: committed, and not yet applied.
    Waiting at_broker;

    /// Parked, with how many keys; nothing if the reader is not among the services looked at.
    std::optional<Waiting> blocked;
    std::uint64_t blocked_keys = 0;
};

/// Each subscription once, partitions taken together, by its name.
std::vector<SubscriptionStages> stages_of(const std::vector<ObservedService>& services);

JsonObject to_json(const SubscriptionStages& stages, Timestamp now);

/// Those for which something waits.
Table table_of(const std::vector<SubscriptionStages>& all, Timestamp now);

}  // namespace instep::cli
