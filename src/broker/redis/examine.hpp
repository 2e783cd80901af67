#pragma once

#include "connection.hpp"
#include "instep/broker/broker.hpp"

#include <vector>

namespace instep::redis {

/// What the server's settings, state and keys mean for the promises of the broker. Errors: those
/// of the connection.
Result<std::vector<BrokerFinding>> examine(Connection& connection, const Endpoint& endpoint);

}  // namespace instep::redis
