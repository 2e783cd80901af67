// What backends work out about the events that they are given.
#pragma once

#include "instep/event/event.hpp"

#include <cstddef>
#include <span>
#include <vector>

namespace instep {

/// Of the attributes' values and of the data: about what the event takes in memory and on a wire.
std::size_t event_bytes(const Event& event);

/// The last event of each source, in the order in which the sources first come; nearly always there
/// is one. They point into `events`.
std::vector<const Event*> last_of_each_source(std::span<const Event> events);

}  // namespace instep
