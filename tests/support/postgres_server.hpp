#pragma once

#include "tests/support/daemon.hpp"

#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace instep::test {

/// A PostgreSQL server of the tests' own on a free loopback port. Whoever connects is trusted;
/// the superuser is "tester". Every failure throws std::runtime_error with the end of the log.
class PostgresServer {
public:
    struct Options {
        /// Lines for postgresql.conf; they win over what this class sets (see the source).
        std::vector<std::string> settings{};

        /// Costs time, and only a machine that loses power needs it.
        bool fsync = false;
    };

    /// Starts it, with the newest version below /usr/lib/postgresql, or with the programs in the
    /// folder that INSTEP_POSTGRES_PROGRAMS names.
    explicit PostgresServer(Options options);
    PostgresServer() : PostgresServer(Options{}) {}

    /// The one that the tests of this process share: started at its first use, stopped when the
    /// process ends. What a test stops or sets is a server of its own.
    static PostgresServer& shared();

    /// Another one that is shared, where transactions may be prepared.
    static PostgresServer& with_prepared_transactions();

    /// Stops it as a crash would: nothing is flushed, the next start recovers.
    void stop_immediately();

    /// Stops it in order, without waiting for its clients.
    void stop_fast();

    /// Starts it again after a stop, on the same port.
    void start();

    [[nodiscard]] std::string url(std::string_view database = "postgres") const;
    [[nodiscard]] int port() const { return port_.number(); }
    [[nodiscard]] const std::string& folder() const { return daemon_.folder(); }
    [[nodiscard]] std::string log() const { return daemon_.log(); }

    /// The process that all others of the server descend from.
    [[nodiscard]] pid_t id() const { return daemon_.id(); }

private:
    [[nodiscard]] bool is_ready() const;

    const Options options_;
    const std::string programs_;
    const ReservedPort port_;
    Daemon daemon_;
};

}  // namespace instep::test
