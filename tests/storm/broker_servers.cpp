#include "tests/storm/broker_servers.hpp"

#include "tests/support/kafka_broker_server.hpp"
#include "tests/support/rabbitmq_broker_server.hpp"
#include "tests/support/redis_broker_server.hpp"

#include <stdexcept>

namespace instep::storm {

std::unique_ptr<test::BrokerServer> start_broker_server(const std::string& name) {
    if (name == "embedded") {
        return nullptr;
    }
    if (name == "redis") {
        return test::make_redis_broker_server();
    }
    if (name == "rabbitmq") {
        return test::make_rabbitmq_broker_server();
    }
    if (name == "kafka") {
        return test::make_kafka_broker_server();
    }
    throw std::runtime_error("unknown broker " + name);
}

std::vector<std::string> broker_names() { return {"embedded", "redis", "rabbitmq", "kafka"}; }

}  // namespace instep::storm
