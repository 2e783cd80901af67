// The outbox loop of tutorials, in Node, against our relay on the same events. Neither publishes
// to a broker: both are told at once that an event is safe, which favours the loop.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "bench/postgres/log_rows.hpp"
#include "instep/db/postgres/database.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace instep::bench {

namespace {

constexpr std::int64_t kRows = 100'000;

/// Of these, the loop gets this many a round; its rate does not depend on it.
constexpr std::int64_t kPeerRows = 5000;

const std::string kPackages = INSTEP_BENCH_PEER_PACKAGES;

/// The `pg` package, from npm's registry at the first run. False if there is no Node.
bool has_peer() {
    if (std::filesystem::exists(kPackages + "/node_modules/pg")) {
        return true;
    }
    std::filesystem::create_directories(kPackages);
    return std::system(("npm install --silent --no-fund --no-audit --prefix '" + kPackages +
                        "' pg@8 >/dev/null 2>&1")
                           .c_str()) == 0;
}

/// The table of the tutorial, with the log's first events as pending.
void make_outbox(Session& session) {
    session.run(
        "CREATE TABLE outbox (outbox_id UUID PRIMARY KEY, event_type TEXT NOT NULL, payload "
        "JSONB NOT NULL, occurred_at TIMESTAMP WITHOUT TIME ZONE DEFAULT now(), published_at "
        "TIMESTAMP WITHOUT TIME ZONE, status TEXT NOT NULL DEFAULT 'pending', retry_count INT "
        "NOT NULL DEFAULT 0);"
        "CREATE INDEX idx_outbox_pending ON outbox (status) WHERE status = 'pending';"
        "CREATE INDEX idx_outbox_published ON outbox (published_at)");
}

Measured peer_round(Session& session, const std::string& url) {
    session.run(fmt::format(
        "TRUNCATE outbox; INSERT INTO outbox (outbox_id, event_type, payload, occurred_at) "
        "SELECT gen_random_uuid(), type, data::jsonb, to_timestamp(time_us / 1e6) "
        "FROM instep.log WHERE seq <= {}",
        kPeerRows));
    session.run("VACUUM ANALYZE outbox");
    const std::string command =
        fmt::format("NODE_PATH='{}/node_modules' node '{}/seed_outbox.js' '{}'", kPackages,
                    INSTEP_BENCH_PEERS, url);
    const std::unique_ptr<FILE, decltype(&pclose)> output(popen(command.c_str(), "r"), &pclose);
    std::array<char, 64> line{};
    if (std::fgets(line.data(), line.size(), output.get()) == nullptr ||
        session.value("SELECT count(*) FROM outbox WHERE status = 'sent'") !=
            std::to_string(kPeerRows)) {
        throw std::runtime_error("the loop in Node left events unsent");
    }
    return {static_cast<double>(kPeerRows) / std::atof(line.data())};
}

Measured relay_round(const test::PostgresServer& server, Database& database, Logger& logger,
                     std::int64_t rows) {
    return rate_of(cpu_with(server),
                   [&] { return drain_with_relay(database, logger, rows).events; });
}

}  // namespace

void run_postgres_outbox_bench(const BenchSize& size) {
    if (!has_peer()) {
        fmt::print("PostgreSQL: outbox loop in Node: left out, there is no Node or no `pg`\n");
        return;
    }
    const std::int64_t rows = std::max(size.rows.value_or(kRows), kPeerRows);
    const auto server = start_server();
    const std::string url = make_database(*server, "iam");
    SystemClock clock;
    FileLogSink sink(2);
    Logger logger(sink, clock, {LogLevel::kError, LogFormat::kText});
    auto database = must(open_postgres(url, clock));
    make_service_tables(*database);
    Session session(url);
    append_events(session, 1, rows, 1000);
    session.run("VACUUM ANALYZE");
    make_outbox(session);
    const auto figures =
        measure({{"outbox loop in Node", [&] { return peer_round(session, url); }},
                 {"relay", [&] { return relay_round(*server, *database, logger, rows); }}},
                size.rounds.value_or(5));
    fmt::print(
        "PostgreSQL: the outbox loop of tutorials (poll 50, publish one by one, update one "
        "by one), told at once that an event is published\n");
    print(figures[0], "events/s");
    print(figures[1], "events/s");
    fmt::print("  relay {:.0f} times as fast (bar 20)\n", figures[1].median / figures[0].median);
}

}  // namespace instep::bench
