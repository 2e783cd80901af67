// What the benchmarks on PostgreSQL share: a server of their own, and a bare libpq session that
// limits are measured with.
#pragma once

#include "bench/bench.hpp"
#include "tests/support/postgres_server.hpp"

#include <libpq-fe.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace instep::bench {

/// Starts a server that keeps what it commits, with memory for a table of a million rows. `extra`
/// are lines for postgresql.conf. Its folder is below TMPDIR, which should be on a real disk.
std::unique_ptr<test::PostgresServer> start_server(std::vector<std::string> extra = {});

/// Makes an empty database and returns its URL.
std::string make_database(const test::PostgresServer& server, const std::string& name);

/// CPU time of all processes of the server so far.
Seconds cpu_time_of(const test::PostgresServer& server);

/// The same together with this process; for rate_of().
std::function<Seconds()> cpu_with(const test::PostgresServer& server);

struct ClearAnswer {
    void operator()(PGresult* result) const noexcept { PQclear(result); }
};
using Answer = std::unique_ptr<PGresult, ClearAnswer>;

/// A session without any of Instep. Every failure throws.
class Session {
public:
    explicit Session(const std::string& url);

    Answer run(const std::string& sql);
    void prepare(const char* name, const std::string& sql);

    /// Runs a prepared statement with parameters as text; rows come in binary.
    Answer run_prepared(const char* name, std::initializer_list<std::string> parameters);

    /// The first value of the first row, as text.
    std::string value(const std::string& sql);

    [[nodiscard]] PGconn* handle() const { return handle_.get(); }

    /// `result` unless the server refused it.
    Answer checked(PGresult* result) const;

private:
    struct Finish {
        void operator()(PGconn* handle) const noexcept { PQfinish(handle); }
    };
    std::unique_ptr<PGconn, Finish> handle_;
};

/// A number in a binary answer.
std::int64_t integer_at(const PGresult* result, int row, int column);

}  // namespace instep::bench
