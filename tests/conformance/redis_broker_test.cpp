#include "instep/base/random.hpp"
#include "instep/broker/redis/broker.hpp"
#include "tests/conformance/broker_conformance.hpp"
#include "tests/conformance/broker_faults.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/redis_broker_server.hpp"
#include "tests/support/redis_server.hpp"

#include <unistd.h>

namespace instep::test {

namespace {

using namespace std::chrono_literals;

class RedisBackend final : public BrokerBackend {
public:
    explicit RedisBackend(std::string_view options) : options_(options) {
        static int count = 0;
        suffix_ = "-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
    }

    std::unique_ptr<Broker> connect() override {
        return open_redis_broker(server_.url() + options_, clock_, random_).value();
    }

    std::string own_name(std::string_view name) override { return std::string(name) + suffix_; }
    Timestamp now() override { return clock_.now(); }

    void let_pass(std::chrono::milliseconds time) override {
        const auto until = clock_.monotonic() + time;
        std::ignore = eventually([&] { return clock_.monotonic() >= until; }, time + 10s);
    }

    std::chrono::milliseconds member_timeout() override { return 6s; }
    std::chrono::milliseconds quiet_time() override { return 50ms; }

    void publish_junk(std::string_view topic, std::uint32_t partition,
                      std::string_view bytes) override {
        server_.command("XADD 'instep:{" + std::string(topic) + "}:" + std::to_string(partition) +
                        "' '*' data '" + std::string(bytes) + "'");
    }

private:
    RedisServer& server_ = RedisServer::shared();
    std::string options_;
    std::string suffix_;
    SystemClock clock_;
    SystemRandom random_;
};

std::unique_ptr<BrokerBackend> make_resp3_backend() {
    return std::make_unique<RedisBackend>("?protocol=3");
}

std::unique_ptr<BrokerBackend> make_resp2_backend() {
    return std::make_unique<RedisBackend>("?protocol=2");
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Redis, BrokerConformance,
                         ::testing::Values(BrokerCase{"resp3", &make_resp3_backend},
                                           BrokerCase{"resp2", &make_resp2_backend}),
                         [](const auto& backend) { return backend.param.name; });
INSTANTIATE_TEST_SUITE_P(Redis, BrokerReplays,
                         ::testing::Values(BrokerCase{"resp3", &make_resp3_backend},
                                           BrokerCase{"resp2", &make_resp2_backend}),
                         [](const auto& backend) { return backend.param.name; });

INSTANTIATE_TEST_SUITE_P(Redis, BrokerFaults,
                         ::testing::Values(BrokerServerCase{"redis", &make_redis_broker_server}),
                         [](const auto& server) { return server.param.name; });

}  // namespace instep::test
