// Catching up with a backlog from one PostgreSQL database to another by the embedded broker,
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
    explicit SyncBench(std::int64_t rows) : rows_(rows), members_(1, rows) {
        members_.system.start_owner();
        members_.fill_replica(0);
        members_.system.stop();
    }

    void run(int rounds) {
        const auto figures =
            measure({{"relay into the broker alone", [this] { return relay_alone(); }},
                     {"consume and apply alone", [this] { return apply_alone(); }},
                     {"both", [this] { return both(); }}},
                    rounds);
        fmt::print("PostgreSQL to PostgreSQL: catching up with a backlog of {} events\n", rows_);
        for (const Figures& next : figures) {
            print(next, "events/s");
        }
        fmt::print("  ratio to the slower stage {:.2f} (bar 0.70); peak memory {:.0f} MiB\n",
                   figures[2].median / std::min(figures[0].median, figures[1].median),
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
                return lags.front().newest - lags.front().acknowledged >= expected;
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
    SyncBench bench(size.rows.value_or(kRows));
    bench.run(size.rounds.value_or(5));
}

}  // namespace instep::bench
