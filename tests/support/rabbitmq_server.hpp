#pragma once

#include "tests/support/daemon.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace instep::test {

/// A RabbitMQ node of the tests' own on free loopback ports, with an Erlang port mapper of its
/// own that ends with it. User "guest", password "guest", vhost "/". Starting it takes seconds.
/// Every failure throws std::runtime_error with the end of the log.
class RabbitmqServer {
public:
    struct Options {
        /// Lines for rabbitmq.conf.
        std::vector<std::string> settings{};

        /// Takes TLS connections too; see tls_url(). Needs the program openssl.
        bool tls = false;
    };

    explicit RabbitmqServer(Options options);
    RabbitmqServer() : RabbitmqServer(Options{}) {}

    /// The one that the tests of this process share: started at its first use, stopped when the
    /// process ends. What a test stops or sets is a server of its own.
    static RabbitmqServer& shared();

    /// Ends it in order: what it holds is written out.
    void stop();

    /// Writes out which quorum queues there are. RabbitMQ 3.10 does that minutes after one was
    /// declared; kill -9 before then leaves a queue without a leader on a server that is alone.
    void save_queue_names();

    /// Ends what serves a quorum queue, as when its nodes are away or a killed server has lost it;
    /// and starts it again.
    void take_leader(const std::string& vhost, const std::string& queue);
    void give_leader(const std::string& vhost, const std::string& queue);

    /// Ends it as a crash of its process would.
    void kill();

    /// Starts it again after either, on the same port.
    void start();

    /// Runs `rabbitmqctl` with these arguments, which the shell sees.
    void control(const std::string& arguments);

    /// "amqp://guest:guest@127.0.0.1:PORT/" and the vhost, which must be URL text.
    [[nodiscard]] std::string url(std::string_view vhost = "%2F") const;

    /// The same for amqps://; its certificate is for "localhost" and 127.0.0.1.
    [[nodiscard]] std::string tls_url(std::string_view vhost = "%2F") const;
    [[nodiscard]] std::string ca_file() const { return folder() + "/ca.pem"; }
    [[nodiscard]] int port() const { return port_.number(); }
    [[nodiscard]] int tls_port() const { return tls_port_.number(); }
    [[nodiscard]] const std::string& folder() const { return daemon_.folder(); }
    [[nodiscard]] std::string log() const { return daemon_.log(); }

private:
    void tell_queue(const std::string& call, const std::string& vhost, const std::string& queue);
    [[nodiscard]] std::size_t count_starts() const;

    const Options options_;
    const ReservedPort mapper_port_;
    const ReservedPort node_port_;
    const ReservedPort port_;
    const ReservedPort tls_port_;
    Daemon daemon_;
};

}  // namespace instep::test
