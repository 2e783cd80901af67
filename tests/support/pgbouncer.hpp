#pragma once

#include "tests/support/daemon.hpp"
#include "tests/support/postgres_server.hpp"

#include <string>
#include <string_view>

namespace instep::test {

/// A PgBouncer of a test's own before all databases of a server: each transaction of a client
/// may run on another of the server's connections. Failures throw std::runtime_error.
class PgBouncer {
public:
    /// `server` may stop and start meanwhile.
    explicit PgBouncer(const PostgresServer& server);

    [[nodiscard]] std::string url(std::string_view database) const;

private:
    const ReservedPort port_;
    Daemon daemon_;
};

}  // namespace instep::test
