#include "instep/broker/rabbitmq/broker.hpp"
#include "tests/conformance/broker_conformance.hpp"
#include "tests/support/amqp_client.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/rabbitmq_server.hpp"

#include <string>
#include <tuple>
#include <utility>

namespace instep::test {

namespace {

using namespace std::chrono_literals;

class RabbitmqBackend final : public BrokerBackend {
public:
    explicit RabbitmqBackend(std::string options) : options_(std::move(options)) {}

    std::unique_ptr<Broker> connect() override {
        return open_rabbitmq_broker(server_.url() + options_, clock_, random_).value();
    }

    std::string own_name(std::string_view name) override {
        return std::to_string(number_) + "." + std::string(name);
    }
    Timestamp now() override { return clock_.now(); }
    void let_pass(std::chrono::milliseconds time) override {
        std::ignore = eventually([] { return false; }, time);
    }
    std::chrono::milliseconds member_timeout() override { return 6s; }
    std::chrono::milliseconds quiet_time() override { return 100ms; }

    void publish_junk(std::string_view topic, std::uint32_t partition,
                      std::string_view bytes) override {
        AmqpClient(server_.port())
            .publish(std::string(topic) + ".p" + std::to_string(partition),
                     {.routing_key = "junk", .body = std::string(bytes)});
    }

private:
    static inline int tests = 0;

    const int number_ = ++tests;
    const std::string options_;
    RabbitmqServer& server_ = RabbitmqServer::shared();
    SystemClock clock_;
    SystemRandom random_;
};

std::unique_ptr<BrokerBackend> make_rabbitmq_backend() {
    return std::make_unique<RabbitmqBackend>("");
}

std::unique_ptr<BrokerBackend> make_rabbitmq_backend_with_past() {
    return std::make_unique<RabbitmqBackend>("?history=1h");
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Rabbitmq, BrokerConformance,
                         ::testing::Values(BrokerCase{"rabbitmq", &make_rabbitmq_backend}),
                         [](const auto& backend) { return backend.param.name; });

INSTANTIATE_TEST_SUITE_P(Rabbitmq, BrokerReplays,
                         ::testing::Values(BrokerCase{"rabbitmq", &make_rabbitmq_backend},
                                           BrokerCase{"rabbitmq_with_past",
                                                      &make_rabbitmq_backend_with_past}),
                         [](const auto& backend) { return backend.param.name; });

}  // namespace instep::test
