#pragma once

#include "tests/support/broker_server.hpp"

#include <memory>

namespace instep::test {

/// A Redis server of its own behind a proxy of its own.
std::unique_ptr<BrokerServer> make_redis_broker_server();

}  // namespace instep::test
