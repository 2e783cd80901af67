// What capture from the write-ahead log costs writers: the same updates on servers that cannot be
// captured so, that can, that keep their log for a slot, and whose log is read meanwhile.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "bench/postgres/log_rows.hpp"
#include "bench/postgres/member_table.hpp"
#include "bench/postgres/updates.hpp"
#include "instep/db/postgres/database.hpp"
#include "instep/wal/wal_capture.hpp"
#include "instep/wal/wal_reader.hpp"

#include <fmt/format.h>

#include <atomic>
#include <optional>
#include <stdexcept>
#include <thread>

namespace instep::bench {

namespace {

constexpr std::int64_t kRows = 1'000'000;
constexpr std::chrono::seconds kTime{2};
constexpr std::uint64_t kSeedsOfRound = 100;

/// A table, and what its updates go through.
class Side {
public:
    Side(std::int64_t rows, const char* wal_level)
        : rows_(rows),
          server_(start_server({fmt::format("wal_level = {}", wal_level)})),
          url_(make_database(*server_, "iam")),
          session_(url_) {
        create_members(session_, "members");
        insert_members(session_, "members", 1, rows_);
        session_.run("VACUUM ANALYZE");
        session_.run("CHECKPOINT");
    }

    /// `during` is done meanwhile, and then `after`, which is not measured.
    template <class During, class After>
    Measured rate(std::int64_t at_once, int clients, During during, After after) {
        Clients all({url_, "members", rows_, at_once, clients, seed_ += kSeedsOfRound});
        std::int64_t sum = 0;
        const Measured measured = rate_of(cpu_with(*server_), [&] {
            [[maybe_unused]] const auto meanwhile = during();
            return sum = all.run_for(kTime);
        });
        after(sum);
        return measured;
    }

    [[nodiscard]] const std::string& url() const { return url_; }

private:
    const std::int64_t rows_;
    std::uint64_t seed_ = 0;
    std::unique_ptr<test::PostgresServer> server_;
    const std::string url_;
    Session session_;
};

/// Reads the log as a relay does, and counts.
class Reading {
public:
    explicit Reading(const std::string& url)
        : url_(url), database_(must(open_postgres(url_, clock_))) {
        make_service_tables(*database_);
        connection_ = must(database_->connect());
        const PublishEntry entry = member_entry("members");
        must(apply_wal_capture(*connection_, {"iam", url_, std::span(&entry, 1)}, clock_));
        WalReaderOptions options;
        options.url = url_;
        options.budget_bytes = std::uint64_t{1} << 40U;
        LogReaderOptions log;
        log.name = "relay";
        log.service = "iam";
        log.rows_max = 4000;
        reader_ =
            must(wal_reader(*database_, options, clock_, logger_)(*connection_, log, nullptr));
    }

    void read_once() {
        const LogBatch batch = must(reader_->read(*connection_));
        if (batch.moves_cursor) {
            auto transaction = must(Transaction::begin(*connection_, TransactionMode::kWrite));
            must(reader_->confirm(transaction, batch, batch.events.size()));
            must(transaction.commit());
            events_ += static_cast<std::int64_t>(batch.events.size());
        }
    }

    std::jthread start() {
        return std::jthread([this](const std::stop_token& stop) {
            while (!stop.stop_requested()) {
                read_once();
            }
        });
    }

    /// Every row that was updated must come once.
    void expect_more(std::int64_t updated) {
        expected_ += updated;
        for (int idle = 0; events_ < expected_ && idle < 1000; ++idle) {
            const std::int64_t before = events_;
            read_once();
            idle = events_ > before ? 0 : idle;
        }
        read_once();
        if (events_ != expected_) {
            throw std::runtime_error(
                fmt::format("{} rows were updated, {} events came", expected_, events_));
        }
    }

private:
    const std::string url_;
    SystemClock clock_;
    FileLogSink sink_{2};
    Logger logger_{sink_, clock_, {LogLevel::kError, LogFormat::kText}};
    std::unique_ptr<Database> database_;
    std::unique_ptr<Connection> connection_;
    std::unique_ptr<LogReader> reader_;
    std::int64_t events_ = 0;
    std::int64_t expected_ = 0;
};

/// Each way has a server of its own, so that none finds a table that another one wore out.
class WalBench {
public:
    explicit WalBench(const BenchSize& size)
        : rounds_(size.rounds.value_or(5)),
          rows_(size.rows.value_or(kRows)),
          kept_reading_(kept_.url()),
          reading_(read_.url()) {}

    void updates(std::int64_t at_once, int clients) {
        const auto nothing = [] { return 0; };
        const auto ignore = [](std::int64_t) {};
        const auto figures = measure(
            {{"wal_level = replica",
              [&] { return replica_.rate(at_once, clients, nothing, ignore); }},
             {"wal_level = logical",
              [&] { return logical_.rate(at_once, clients, nothing, ignore); }},
             {"captured",
              [&] {
                  return kept_.rate(at_once, clients, nothing,
                                    [&](std::int64_t sum) { kept_reading_.expect_more(sum); });
              }},
             {"captured and read",
              [&] {
                  return read_.rate(
                      at_once, clients, [&] { return reading_.start(); },
                      [&](std::int64_t sum) { reading_.expect_more(sum); });
              }}},
            rounds_);
        fmt::print("PostgreSQL: UPDATE of {} random row{}, {} client{}, capture = wal\n", at_once,
                   at_once == 1 ? "" : "s", clients, clients == 1 ? "" : "s");
        for (const Figures& next : figures) {
            print(next, "rows/s");
        }
        const auto ratio = [&](std::size_t to, std::size_t of) {
            return fmt::format("{:.2f} times the time and {:.2f} times the CPU",
                               figures[to].median / figures[of].median,
                               figures[of].cpu_us / figures[to].cpu_us);
        };
        fmt::print("  captured, as against logical: {} (bar 1.05); against replica: {}\n",
                   ratio(1, 2), ratio(0, 2));
    }

private:
    const int rounds_;
    const std::int64_t rows_;
    Side replica_{rows_, "replica"};
    Side logical_{rows_, "logical"};
    Side kept_{rows_, "logical"};
    Side read_{rows_, "logical"};
    Reading kept_reading_;
    Reading reading_;
};

}  // namespace

void run_postgres_wal_bench(const BenchSize& size) {
    WalBench bench(size);
    bench.updates(1, 1);
    bench.updates(1, 4);
    bench.updates(100, 1);
}

}  // namespace instep::bench
