#include "tests/support/rabbitmq_broker_server.hpp"

#include "instep/base/random.hpp"
#include "instep/broker/rabbitmq/broker.hpp"
#include "tests/support/rabbitmq_vhost.hpp"

namespace instep::test {

namespace {

class RabbitmqBehindProxy final : public BrokerServer {
public:
    std::unique_ptr<Broker> connect() override {
        return open_rabbitmq_broker(url(), clock_, random_).value();
    }
    [[nodiscard]] std::string url() const override {
        return "amqp://127.0.0.1:" + std::to_string(proxy_.port()) + "/" + vhost_.name();
    }
    TcpProxy& proxy() override { return proxy_; }
    void stop() override { vhost_.server().stop(); }
    void kill() override {
        vhost_.server().save_queue_names();
        vhost_.server().kill();
    }
    void start() override { vhost_.server().start(); }
    std::string account() override {
        vhost_.server().control("list_queues -p " + vhost_.name() +
                                " name state messages_ready messages_unacknowledged consumers "
                                "single_active_consumer_pid || :");
        return vhost_.server().log();
    }

private:
    RabbitmqVhost vhost_;
    TcpProxy proxy_{vhost_.server().port()};
    SystemClock clock_;
    SystemRandom random_;
};

}  // namespace

std::unique_ptr<BrokerServer> make_rabbitmq_broker_server() {
    return std::make_unique<RabbitmqBehindProxy>();
}

}  // namespace instep::test
