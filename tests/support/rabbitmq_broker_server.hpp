#pragma once

#include "tests/support/broker_server.hpp"

#include <memory>

namespace instep::test {

/// A vhost of its own on the RabbitMQ server that this process shares: of those that stop or kill
/// it there may be one at a time.
std::unique_ptr<BrokerServer> make_rabbitmq_broker_server();

}  // namespace instep::test
