#include "tests/support/redis_broker_server.hpp"

#include "instep/base/random.hpp"
#include "instep/broker/redis/broker.hpp"
#include "tests/support/redis_server.hpp"

namespace instep::test {

namespace {

class RedisBrokerServer final : public BrokerServer {
public:
    std::unique_ptr<Broker> connect() override {
        return open_redis_broker(url(), clock_, random_).value();
    }

    [[nodiscard]] std::string url() const override {
        return "redis://127.0.0.1:" + std::to_string(proxy_.port()) + "?timeout=2000";
    }

    TcpProxy& proxy() override { return proxy_; }
    void stop() override { server_.stop(); }
    void kill() override { server_.kill(); }
    void start() override { server_.start(); }

private:
    RedisServer server_;
    TcpProxy proxy_{server_.port()};
    SystemClock clock_;
    SystemRandom random_;
};

}  // namespace

std::unique_ptr<BrokerServer> make_redis_broker_server() {
    return std::make_unique<RedisBrokerServer>();
}

}  // namespace instep::test
