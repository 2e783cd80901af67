#pragma once

#include "tests/support/broker_server.hpp"

#include <memory>

namespace instep::test {

/// The Kafka server that this process shares, which tells its clients to come by its proxy: of
/// those that do something to either there may be one at a time.
std::unique_ptr<BrokerServer> make_kafka_broker_server();

}  // namespace instep::test
