// Draining the log: our reader, and our relay into a broker that confirms at once, against a
// bare cursor on the same rows whose position is stored after each batch.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "bench/postgres/log_rows.hpp"
#include "instep/db/postgres/database.hpp"

#include <fmt/format.h>

namespace instep::bench {

namespace {

constexpr std::int64_t kRows = 300'000;
constexpr int kDataColumn = 14;

Tally drain_with_cursor(const std::string& url) {
    Session session(url);
    // A position that is lost is read again from: as our cursor, it need not be flushed.
    session.run("UPDATE drain_position SET seq = 0; SET synchronous_commit = off");
    session.prepare("rows",
                    "SELECT seq, topic, key, type, operation, time_us, id, stream, "
                    "stream_version, content_type, schema, correlation_id, causation_id, "
                    "trace_parent, data, bytes FROM instep.log WHERE seq > $1::bigint "
                    "ORDER BY seq LIMIT 1000");
    session.prepare("position", "UPDATE drain_position SET seq = $1::bigint");
    Tally tally;
    for (std::int64_t position = 0;;) {
        const Answer rows = session.run_prepared("rows", {std::to_string(position)});
        const int count = PQntuples(rows.get());
        if (count == 0) {
            return tally;
        }
        for (int row = 0; row < count; ++row) {
            tally.bytes += PQgetlength(rows.get(), row, kDataColumn);
        }
        tally.events += count;
        position = integer_at(rows.get(), count - 1, 0);
        session.run_prepared("position", {std::to_string(position)});
    }
}

Tally drain_with_reader(Database& database, std::int64_t rows, std::int64_t expected) {
    // As the relay connects.
    ConnectOptions connect;
    connect.durability = Durability::kProcess;
    auto connection = must(database.connect(connect));
    must(connection->execute_script("DELETE FROM instep.cursor"));
    LogReaderOptions options;
    options.name = "drain";
    options.service = "iam";
    options.rows_max = static_cast<std::uint32_t>(rows);
    auto reader = must(LogReader::open(*connection, options, nullptr));
    Tally tally;
    while (tally.events < expected) {
        const LogBatch batch = must(reader->read(*connection));
        for (const TopicEvent& next : batch.events) {
            tally.bytes += static_cast<std::int64_t>(next.event.data.size());
        }
        tally.events += static_cast<std::int64_t>(batch.events.size());
        auto transaction = must(Transaction::begin(*connection, TransactionMode::kWrite));
        must(reader->confirm(transaction, batch, batch.events.size()));
        must(transaction.commit());
    }
    return tally;
}

}  // namespace

void run_postgres_relay_bench(const BenchSize& size) {
    const std::int64_t rows = size.rows.value_or(kRows);
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
    session.run("CREATE TABLE drain_position AS SELECT 0::bigint AS seq");
    const Tally expected{rows, std::stoll(session.value("SELECT sum(octet_length(data)) FROM "
                                                        "instep.log"))};
    const auto timed = [&](const std::string& name, const auto& drain) {
        return Contender{name, [&expected, &server, name, drain] {
                             return rate_of(cpu_with(*server), [&] {
                                 const Tally tally = drain();
                                 check_same(tally, expected, name);
                                 return tally.events;
                             });
                         }};
    };
    const auto figures =
        measure({timed("bare cursor, 1000 rows a batch", [&] { return drain_with_cursor(url); }),
                 timed("log reader", [&] { return drain_with_reader(*database, 1000, rows); }),
                 timed("relay", [&] { return drain_with_relay(*database, logger, rows); })},
                size.rounds.value_or(5));
    fmt::print("PostgreSQL: drain of {} events of {} bytes\n", rows, expected.bytes / rows);
    for (const Figures& next : figures) {
        print(next, "events/s");
    }
    fmt::print("  ratio to the bare cursor: reader {:.2f}, relay {:.2f} (bar 0.60)\n",
               figures[1].median / figures[0].median, figures[2].median / figures[0].median);
}

}  // namespace instep::bench
