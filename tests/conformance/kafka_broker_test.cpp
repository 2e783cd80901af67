#include "instep/base/clock.hpp"
#include "instep/broker/kafka/broker.hpp"
#include "tests/conformance/broker_conformance.hpp"
#include "tests/conformance/broker_faults.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/kafka_broker_server.hpp"
#include "tests/support/kafka_client.hpp"
#include "tests/support/kafka_server.hpp"

#include <fmt/format.h>

#include <tuple>

namespace instep::test {

namespace {

using namespace std::chrono_literals;

/// Names of its own on the server that all tests share.
class KafkaBackend final : public BrokerBackend {
public:
    std::unique_ptr<Broker> connect() override {
        return open_kafka_broker(KafkaServer::shared().url(),
                                 {.publish_timeout = 30s, .request_timeout = 30s})
            .value();
    }

    std::string own_name(std::string_view name) override {
        return fmt::format("t{}.{}", number_, name);
    }

    Timestamp now() override { return clock_.now(); }

    void let_pass(std::chrono::milliseconds time) override {
        std::ignore = eventually([] { return false; }, time);
    }

    std::chrono::milliseconds member_timeout() override { return 6s; }
    std::chrono::milliseconds quiet_time() override { return 300ms; }

    void publish_junk(std::string_view topic, std::uint32_t partition,
                      std::string_view bytes) override {
        KafkaClient(KafkaServer::shared())
            .produce(
                {.topic = std::string(topic), .partition = partition, .value = std::string(bytes)});
    }

private:
    SystemClock clock_;
    const int number_ = next_number();

    static int next_number() {
        static int last = 0;
        return ++last;
    }
};

std::unique_ptr<BrokerBackend> make_kafka_backend() { return std::make_unique<KafkaBackend>(); }

}  // namespace

INSTANTIATE_TEST_SUITE_P(Kafka, BrokerConformance,
                         ::testing::Values(BrokerCase{"kafka", &make_kafka_backend}),
                         [](const auto& backend) { return backend.param.name; });
INSTANTIATE_TEST_SUITE_P(Kafka, BrokerReplays,
                         ::testing::Values(BrokerCase{"kafka", &make_kafka_backend}),
                         [](const auto& backend) { return backend.param.name; });

INSTANTIATE_TEST_SUITE_P(Kafka, BrokerFaults,
                         ::testing::Values(BrokerServerCase{"kafka", &make_kafka_broker_server}),
                         [](const auto& backend) { return backend.param.name; });

}  // namespace instep::test
