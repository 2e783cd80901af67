// Catching up with a backlog from one PostgreSQL database to another by any broker,
// against its stages alone: the relay into the broker, and the consumer from the broker.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "bench/postgres/member_system.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::bench {

namespace {

constexpr std::int64_t kRows = 200'000;
constexpr std::int64_t kTransaction = 1000;

class SyncBench {
public:
    SyncBench(std::int64_t rows, const std::string& broker)
        : rows_(rows), members_(1, rows, broker) {
        members_.system.start_owner();
        members_.fill_replica(0);
        members_.system.stop();
    }

    /// `bar` is what both together should reach of the slower stage.
    void run(const char* broker, int rounds, double bar) {
        const auto figures =
            measure({{"relay into the broker alone", [this] { return relay_alone(); }},
                     {"consume and apply alone", [this] { return apply_alone(); }},
                     {"both", [this] { return both(); }}},
                    rounds);
        fmt::print("PostgreSQL to PostgreSQL by {}: catching up with a backlog of {} events\n",
                   broker, rows_);
        for (const Figures& next : figures) {
            print(next, "events/s");
        }
        fmt::print("  ratio to the slower stage {:.2f} (bar {:.2f}); peak memory {:.0f} MiB\n",
                   figures[2].median / std::min(figures[0].median, figures[1].median), bar,
                   peak_memory_mib());
    }

private:
    void write_backlog() {
        ++round_;
        for (std::int64_t from = 1; from <= rows_; from += kTransaction) {
            members_.owner.run(
                fmt::format("UPDATE members SET score = score + 1 WHERE id BETWEEN {} AND {}", from,
                            from + kTransaction - 1));
        }
        members_.write_mark(mark());
    }

    [[nodiscard]] std::string mark() const { return fmt::format("round {}", round_); }

    Measured relay_alone() {
        write_backlog();
        const auto expected = static_cast<std::uint64_t>(rows_) + 1;
        const Measured measured = rate([&] {
            members_.system.start_owner();
            wait_until([&] {
                const auto lags = must(members_.system.broker().lag("iam.member"));
                return lags.front().events >= expected;
            });
        });
        members_.system.stop();
        return measured;
    }

    Measured apply_alone() {
        const Measured measured = rate([&] {
            members_.system.start_replica(0);
            members_.wait_for_mark(0, mark());
        });
        members_.system.stop();
        members_.check_replica(0);
        return measured;
    }

    Measured both() {
        write_backlog();
        const Measured measured = rate([&] {
            members_.system.start_owner();
            members_.system.start_replica(0);
            members_.wait_for_mark(0, mark());
        });
        members_.system.stop();
        members_.check_replica(0);
        return measured;
    }

    [[nodiscard]] Measured rate(const std::function<void()>& work) const {
        return rate_of(cpu_with(*members_.server), [&] {
            work();
            return rows_;
        });
    }

    const std::int64_t rows_;
    MemberSystem members_;
    int round_ = 0;
};

}  // namespace

void run_postgres_sync_bench(const BenchSize& size) {
    SyncBench bench(size.rows.value_or(kRows), {});
    bench.run("an embedded broker", size.rounds.value_or(5), 0.7);
}

void measure_sync(const char* broker, const std::string& url, const BenchSize& size) {
    SyncBench bench(size.rows.value_or(kRows), url);
    bench.run(broker, size.rounds.value_or(3), 0.6);
}

}  // namespace instep::bench
