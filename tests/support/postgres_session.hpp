#pragma once

#include <memory>
#include <string>

struct pg_conn;

namespace instep::test {

/// A connection that stays open, for transactions of several steps.
class PostgresSession {
public:
    /// Throws std::runtime_error with the server's message, as does run().
    explicit PostgresSession(const std::string& url);

    /// As run_postgres().
    std::string run(const std::string& statements);

private:
    struct Finish {
        void operator()(pg_conn* connection) const noexcept;
    };
    std::unique_ptr<pg_conn, Finish> connection_;
};

}  // namespace instep::test
