#pragma once

#include "tests/support/postgres_server.hpp"

#include <string>

namespace instep::test {

/// An empty database of a test's own, dropped at the end together with its connections.
class PostgresDatabase {
public:
    struct Options {
        /// Empty: a name that no other has.
        std::string name{};

        /// The language whose order text has, so that whoever counts on the order of bytes is
        /// found out. Empty: C.UTF-8, the order of bytes.
        std::string icu_locale = "en-US";
    };

    /// `server` outlives it.
    PostgresDatabase(PostgresServer& server, Options options);
    explicit PostgresDatabase(PostgresServer& server) : PostgresDatabase(server, Options{}) {}
    PostgresDatabase() : PostgresDatabase(PostgresServer::shared()) {}
    PostgresDatabase(const PostgresDatabase&) = delete;
    PostgresDatabase& operator=(const PostgresDatabase&) = delete;
    ~PostgresDatabase();

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] std::string url() const { return server_.url(name_); }

private:
    PostgresServer& server_;
    std::string name_;
};

/// Runs statements on a connection of their own; the first value of the last result, empty if
/// there is none. Throws std::runtime_error with the server's message.
std::string run_postgres(const std::string& url, const std::string& statements);

}  // namespace instep::test
