#include "tests/support/kafka_broker_server.hpp"

#include "instep/broker/kafka/broker.hpp"
#include "tests/support/kafka_server.hpp"

namespace instep::test {

namespace {

using namespace std::chrono_literals;

class ProxiedServer final : public BrokerServer {
public:
    ProxiedServer()
        : server_({.settings = {}, .advertise = [this](int port) {
                       proxy_ = std::make_unique<TcpProxy>(port);
                       return proxy_->port();
                   }}) {}

    // Half the usual time-outs: some of the tests wait for them.
    std::unique_ptr<Broker> connect() override {
        return open_kafka_broker(url(), {.publish_timeout = 4s, .request_timeout = 4s}).value();
    }

    // The client waits longer each time that it does not reach the server; what is tested is what
    // it does then.
    [[nodiscard]] std::string url() const override {
        return server_.url("reconnect.backoff.ms=20&reconnect.backoff.max.ms=100");
    }
    TcpProxy& proxy() override { return *proxy_; }
    void stop() override { server_.stop(); }
    void kill() override { server_.kill(); }
    void start() override { server_.start(); }

private:
    std::unique_ptr<TcpProxy> proxy_;
    KafkaServer server_;
};

/// One test's turn on the server of all, which takes seconds to start.
class SharedServer final : public BrokerServer {
public:
    ~SharedServer() override { server().proxy().restore(); }
    std::unique_ptr<Broker> connect() override { return server().connect(); }
    [[nodiscard]] std::string url() const override { return server().url(); }
    TcpProxy& proxy() override { return server().proxy(); }
    void stop() override { server().stop(); }
    void kill() override { server().kill(); }
    void start() override { server().start(); }

private:
    static ProxiedServer& server() {
        static ProxiedServer server;
        return server;
    }
};

}  // namespace

std::unique_ptr<BrokerServer> make_kafka_broker_server() {
    return std::make_unique<SharedServer>();
}

}  // namespace instep::test
