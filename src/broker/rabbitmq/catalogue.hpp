// Which topics and subscriptions there are on a server, which AMQP has no way to ask: records
// in a stream, in an order that is the same for everybody. Of two that contradict each other
// the earlier one counts.
#pragma once

#include "link.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace instep::rabbitmq {

inline constexpr std::string_view kCatalogue = "instep.catalogue";

struct CatalogueSubscription {
    std::string topic;

    /// Its queues stood once. Where one is missing then, somebody deleted it.
    bool has_queues = false;

    /// Since then events have not come to a queue.
    bool misses_events = false;
};

struct Catalogue {
    /// The number of partitions of each topic.
    std::map<std::string, std::uint32_t, std::less<>> topics;
    std::map<std::string, CatalogueSubscription, std::less<>> subscriptions;

    /// Topics whose past was kept from their first event on.
    std::set<std::string, std::less<>> with_past;

    [[nodiscard]] std::vector<std::string> subscriptions_of(std::string_view topic) const;
};

/// Reads all of it; makes the stream if there is none. Errors: those of Link.
Result<Catalogue> read_catalogue(Link& link);

/// kKept: from its first event on.
enum class TopicPast : std::uint8_t { kNotKept, kKept };

Result<void> add_topic(Link& link, std::string_view topic, std::uint32_t partitions,
                       TopicPast past);
Result<void> add_past_lost(Link& link, std::string_view topic);
Result<void> add_subscription(Link& link, std::string_view subscription, std::string_view topic);

/// Its queues stand, and hold all that is published from now on.
Result<void> add_queues(Link& link, std::string_view subscription);

/// Until add_queues().
Result<void> add_missed(Link& link, std::string_view subscription);

}  // namespace instep::rabbitmq
