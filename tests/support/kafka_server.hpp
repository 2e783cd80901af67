#pragma once

#include "tests/support/daemon.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace instep::test {

/// A Kafka server of the tests' own: one node in KRaft mode on a free loopback port, made of
/// the jars that tests/support/kafka fetches. Every failure throws std::runtime_error with the
/// end of the log. A start takes one to two seconds of CPU.
class KafkaServer {
public:
    struct Options {
        /// Lines for server.properties; they win over what this class sets (see the source).
        std::vector<std::string> settings{};

        /// Takes TLS connections only; see ca_file(). Needs the program openssl.
        bool tls = false;

        /// Users with SCRAM passwords, as `kafka-storage format --add-scram` takes them:
        /// "SCRAM-SHA-256=[name=…,password=…]". They take a second more at the first start.
        std::vector<std::string> scram_users{};

        /// Called with the server's port before it starts; returns the one that clients are sent
        /// to, such as a proxy's.
        std::function<int(int port)> advertise{};
    };

    explicit KafkaServer(Options options);
    KafkaServer() : KafkaServer(Options{}) {}

    /// The one that the tests of this process share: started at its first use, stopped when the
    /// process ends. What a test stops or sets is a server of its own.
    static KafkaServer& shared();

    /// Ends it as a crash of the process would.
    void kill();

    /// Stops it in order.
    void stop();

    /// Starts it again, on the same port and folder.
    void start();

    [[nodiscard]] std::string url(std::string_view options = "") const;
    [[nodiscard]] std::string ca_file() const { return folder() + "/ca.pem"; }
    [[nodiscard]] int port() const { return port_.number(); }
    [[nodiscard]] const std::string& folder() const { return daemon_.folder(); }
    [[nodiscard]] std::string log() const { return daemon_.log(); }
    [[nodiscard]] pid_t id() const { return daemon_.id(); }

private:
    void write_settings() const;
    void format();

    const Options options_;
    const ReservedPort port_;
    const ReservedPort controller_port_;
    Daemon daemon_;
    int advertised_port_ = 0;
};

}  // namespace instep::test
