// The broker alone: how long one event takes through it while nothing else is on the way.
#pragma once

#include "instep/broker/broker.hpp"

namespace instep::bench {

/// Publishes one event after the other to a topic of its own, and prints how long each takes to be
/// confirmed and how long to be received by a member that waits.
void measure_round_trip(Broker& broker);

}  // namespace instep::bench
