// One process of the storm: the relays of a service, or a member of a subscription. It is killed
// whenever the storm likes, and prints "ready" once its subscription stands.
#pragma once

#include "tests/storm/options.hpp"

#include <string_view>

namespace instep::storm {

/// The service whose log the storm writes, and its topic.
inline constexpr std::string_view kService = "storm";
inline constexpr std::string_view kTopic = "storm.list";

/// Works until it is killed. `partitions` of the service; `forgetful`: effects without an inbox.
/// Returns only if it cannot start.
int run_worker(const WorkerOptions& options, std::uint32_t partitions, bool forgetful);

}  // namespace instep::storm
