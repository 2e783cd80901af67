// Events of every kind that a wire format may spoil.
#pragma once

#include "instep/event/event.hpp"

#include <vector>

namespace instep::test {

/// Twelve events, one a class of payloads or attributes. The class is the event's id.
std::vector<Event> payload_classes();

}  // namespace instep::test
