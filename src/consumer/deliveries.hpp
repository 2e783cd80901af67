// What was received, cut into pieces that can be tried on their own.
#pragma once

#include "instep/broker/broker.hpp"
#include "progress.hpp"

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace instep {

using Deliveries = std::vector<const Delivery*>;

/// By partition.
using Positions = std::map<std::uint32_t, Reached>;

/// True if the event is to blame, not the database or its schema: only then may its key be
/// set aside. With everything else parking would set the world aside, key by key.
bool blames_event(ErrorCode code);

Deliveries all_of(std::span<const Delivery> deliveries);

/// The events to handle; boundaries are none.
std::vector<const Event*> events_of(std::span<const Delivery* const> deliveries);

/// Cuts the deliveries into pieces that may fail on their own: lanes between barriers.
/// Keeps the order within every key and around every barrier.
std::vector<Deliveries> split_into_lanes(const Deliveries& deliveries, std::uint32_t lanes);

/// Where each partition stands once all of the deliveries are dealt with.
Positions newest_positions(std::span<const Delivery> deliveries);

}  // namespace instep
