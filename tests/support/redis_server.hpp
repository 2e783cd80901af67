#pragma once

#include "tests/support/daemon.hpp"

#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace instep::test {

/// A Redis server of the tests' own on a free loopback port, with an append-only file. Every
/// failure throws std::runtime_error with the end of the log.
class RedisServer {
public:
    struct Options {
        /// Lines for redis.conf; they win over what this class sets (see the source).
        std::vector<std::string> settings{};

        /// Takes TLS connections only, and has a certificate of its own for "localhost" and
        /// 127.0.0.1; see ca_file(). Needs the program openssl.
        bool tls = false;
    };

    explicit RedisServer(Options options);
    RedisServer() : RedisServer(Options{}) {}

    /// The one that the tests of this process share: started at its first use, stopped when the
    /// process ends. What a test stops or sets is a server of its own.
    static RedisServer& shared();

    /// Ends it as a crash of its process would.
    void kill();

    /// Stops it in order.
    void stop();

    /// Starts it again after either, on the same port and with what it had written.
    void start();

    /// Runs redis-cli with these arguments; throws if it fails.
    void command(const std::string& arguments);

    /// Without options; with a user if `login` is given as "user:password".
    [[nodiscard]] std::string url(std::string_view login = {}) const;
    [[nodiscard]] std::string ca_file() const { return folder() + "/ca.pem"; }
    [[nodiscard]] int port() const { return port_.number(); }
    [[nodiscard]] const std::string& folder() const { return daemon_.folder(); }
    [[nodiscard]] std::string log() const { return daemon_.log(); }
    [[nodiscard]] pid_t id() const { return daemon_.id(); }

private:
    const Options options_;
    const ReservedPort port_;
    Daemon daemon_;
};

}  // namespace instep::test
