// The brokers that the storm can start.
#pragma once

#include "tests/support/broker_server.hpp"

#include <memory>
#include <string>
#include <vector>

namespace instep::storm {

/// Nothing for "embedded", which has no server. Throws std::runtime_error for an unknown name.
std::unique_ptr<test::BrokerServer> start_broker_server(const std::string& name);

/// All names, "embedded" first.
std::vector<std::string> broker_names();

}  // namespace instep::storm
