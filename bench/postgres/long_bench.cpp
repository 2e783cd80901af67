// A long log: append, drain and retention must be as fast at its end as at its beginning.
#include "bench/bench.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "bench/postgres/log_rows.hpp"
#include "instep/db/postgres/database.hpp"
#include "instep/log/reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

namespace instep::bench {

namespace {

constexpr std::int64_t kRows = 50'000'000;

/// Rates are printed for so many rows each.
constexpr std::int64_t kStep = 5'000'000;
constexpr std::int64_t kTransaction = 10'000;

/// Upkeep makes partitions this often.
constexpr std::int64_t kUpkeep = 500'000;

/// Rows of one partition of the log, and how often a partition may be in use.
constexpr std::int64_t kPartition = 1'000'000;
constexpr int kRefusalsMax = 120;

class LongLog {
public:
    explicit LongLog(std::int64_t rows)
        : rows_(rows),
          server_(start_server()),
          url_(make_database(*server_, "iam")),
          session_(url_),
          database_(must(open_postgres(url_, clock_))) {
        make_service_tables(*database_);
        ConnectOptions connect;
        connect.durability = Durability::kProcess;
        connection_ = must(database_->connect(connect));
    }

    void append() {
        for_each_step("append", [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t from = first; from <= last; from += kUpkeep) {
                append_events(session_, from, std::min(from + kUpkeep - 1, last), kTransaction);
                trim(Timestamp{});
            }
        });
    }

    void drain() {
        LogReaderOptions options;
        options.name = "relay";
        options.service = "iam";
        auto reader = must(LogReader::open(*connection_, options, nullptr));
        std::int64_t read = 0;
        const auto read_to = [&](std::int64_t last) {
            while (read < last) {
                const LogBatch batch = must(reader->read(*connection_));
                read += static_cast<std::int64_t>(batch.events.size());
                auto transaction = must(Transaction::begin(*connection_, TransactionMode::kWrite));
                must(reader->confirm(transaction, batch, batch.events.size()));
                must(transaction.commit());
            }
        };
        for_each_step("drain", [&](std::int64_t, std::int64_t last) { read_to(last); });
        // The cursor tells that a batch was read when the next one was.
        append_events(session_, rows_ + 1, rows_ + 1, 1);
        read_to(rows_ + 1);
    }

    /// Whole partitions go; the last one stays. One that autovacuum has in hand is left for
    /// another call, as upkeep does.
    void retain() {
        const Timestamp now = must(connection_->now());
        std::int64_t gone = 0;
        Seconds all{};
        for (int refused = 0; gone + kPartition <= rows_ && refused < kRefusalsMax;) {
            std::int64_t trimmed = 0;
            const Seconds time = time_of([&] { trimmed = trim(now); });
            if (trimmed == 0) {
                ++refused;
                std::this_thread::sleep_for(std::chrono::seconds(1));
                continue;
            }
            gone += trimmed;
            all += time;
            fmt::print("  retention: {} rows gone in {:.1f} ms\n", trimmed, time.count() * 1e3);
        }
        fmt::print("  retention: {} of {} rows gone in {:.2f} s\n", gone, rows_, all.count());
    }

private:
    std::int64_t trim(Timestamp before) {
        auto transaction = must(Transaction::begin(*connection_, TransactionMode::kWrite));
        const std::uint64_t trimmed = must(trim_log(transaction, before, 10'000));
        must(transaction.commit());
        return static_cast<std::int64_t>(trimmed);
    }

    void for_each_step(const char* name,
                       const std::function<void(std::int64_t, std::int64_t)>& step) {
        for (std::int64_t first = 1; first <= rows_; first += kStep) {
            const std::int64_t last = std::min(first + kStep - 1, rows_);
            const Seconds time = time_of([&] { step(first, last); });
            fmt::print("  {}: rows {} to {}: {:.0f}/s\n", name, first, last,
                       static_cast<double>(last - first + 1) / time.count());
            std::fflush(stdout);
        }
    }

    const std::int64_t rows_;
    SystemClock clock_;
    std::unique_ptr<test::PostgresServer> server_;
    const std::string url_;
    Session session_;
    std::unique_ptr<Database> database_;
    std::unique_ptr<Connection> connection_;
};

}  // namespace

void run_postgres_long_bench(const BenchSize& size) {
    const std::int64_t rows = size.rows.value_or(kRows);
    fmt::print("PostgreSQL: a log of {} rows\n", rows);
    LongLog log(rows);
    log.append();
    log.drain();
    log.retain();
    fmt::print("  peak memory {:.0f} MiB\n", peak_memory_mib());
}

}  // namespace instep::bench
