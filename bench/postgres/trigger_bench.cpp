// What captured writes cost: the same updates of a table with our triggers and of one without.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "bench/postgres/log_rows.hpp"
#include "bench/postgres/member_table.hpp"
#include "bench/postgres/updates.hpp"
#include "instep/db/postgres/database.hpp"

#include <fmt/format.h>

namespace instep::bench {

namespace {

constexpr std::int64_t kRows = 1'000'000;
constexpr std::int64_t kHotRows = 50'000;
constexpr std::chrono::seconds kTime{2};
constexpr std::uint64_t kSeedsOfRound = 100;

class TriggerBench {
public:
    explicit TriggerBench(const BenchSize& size)
        : rows_(size.rows.value_or(kRows)),
          rounds_(size.rounds.value_or(5)),
          server_(start_server()),
          url_(make_database(*server_, "iam")),
          session_(url_),
          database_(must(open_postgres(url_, clock_))) {
        make_service_tables(*database_);
        connection_ = must(database_->connect());
        for (const char* table : {"plain", "captured"}) {
            create_members(session_, table);
            insert_members(session_, table, 1, rows_);
        }
        for (const char* table : {"plain_hot", "captured_hot"}) {
            create_members(session_, table, "WITH (fillfactor = 45)");
            insert_members(session_, table, 1, kHotRows);
        }
        auto transaction = must(Transaction::begin(*connection_, TransactionMode::kWrite));
        PublishEntry hot = member_entry("captured_hot");
        hot.entity = "hot";
        must(apply_capture(transaction, "iam", std::vector{member_entry("captured"), hot}));
        must(transaction.commit());
        session_.run("VACUUM ANALYZE");
        session_.run("CHECKPOINT");
    }

    void single_rows(int clients) {
        compare(
            fmt::format("single-row UPDATE, one commit each, {} client{}", clients,
                        clients == 1 ? "" : "s"),
            [&](const std::string& table) { return rate(table, 1, clients); }, 1.6);
    }

    void many_rows(std::int64_t at_once) {
        compare(
            fmt::format("UPDATE of {} random rows, an index moves", at_once),
            [&](const std::string& table) { return rate(table, at_once, 1); }, 2.5);
    }

    void hot_rows() {
        compare(
            fmt::format("UPDATE of {} rows in one statement, no index moves", kHotRows),
            [&](const std::string& table) {
                const std::string hot = table + "_hot";
                session_.run("VACUUM " + hot);
                const Measured measured = rate_of(cpu_with(*server_), [&] {
                    session_.run(fmt::format("UPDATE {} SET score = score + 1", hot));
                    return kHotRows;
                });
                expect_captured(table, kHotRows);
                return measured;
            },
            2.5);
    }

private:
    Measured rate(const std::string& table, std::int64_t at_once, int clients) {
        Clients all({url_, table, rows_, at_once, clients, seed_ += kSeedsOfRound});
        std::int64_t sum = 0;
        const Measured measured =
            rate_of(cpu_with(*server_), [&] { return sum = all.run_for(kTime); });
        expect_captured(table, sum);
        return measured;
    }

    /// Every row that was updated must be in the log; then the log is emptied, and gets its
    /// partitions as upkeep makes them.
    void expect_captured(const std::string& table, std::int64_t updated) {
        const std::int64_t logged = std::stoll(session_.value("SELECT count(*) FROM instep.log"));
        session_.run("TRUNCATE instep.log_passing");
        auto transaction = must(Transaction::begin(*connection_, TransactionMode::kWrite));
        must(trim_log(transaction, Timestamp{}, 1));
        must(transaction.commit());
        if (logged != (table == "captured" ? updated : 0)) {
            throw std::runtime_error(
                fmt::format("{} rows of {} were updated, {} logged", updated, table, logged));
        }
    }

    void compare(const std::string& what,
                 const std::function<Measured(const std::string&)>& measure_on, double bar) {
        const auto figures = measure({{"without triggers", [&] { return measure_on("plain"); }},
                                      {"with triggers", [&] { return measure_on("captured"); }}},
                                     rounds_);
        fmt::print("PostgreSQL: {}\n", what);
        print(figures[0], "rows/s");
        print(figures[1], "rows/s");
        fmt::print(
            "  {:.2f} times the time (bar {:.1f}), {:.2f} times the CPU; {:.1f} µs a row added, "
            "{:.1f} µs of CPU\n",
            figures[0].median / figures[1].median, bar, figures[1].cpu_us / figures[0].cpu_us,
            1e6 / figures[1].median - 1e6 / figures[0].median,
            figures[1].cpu_us - figures[0].cpu_us);
    }

    const std::int64_t rows_;
    const int rounds_;
    std::uint64_t seed_ = 0;
    SystemClock clock_;
    std::unique_ptr<test::PostgresServer> server_;
    const std::string url_;
    Session session_;
    std::unique_ptr<Database> database_;
    std::unique_ptr<Connection> connection_;
};

}  // namespace

void run_postgres_trigger_bench(const BenchSize& size) {
    TriggerBench bench(size);
    bench.single_rows(1);
    bench.single_rows(4);
    bench.many_rows(10);
    bench.many_rows(100);
    bench.many_rows(1000);
    bench.hot_rows();
}

}  // namespace instep::bench
