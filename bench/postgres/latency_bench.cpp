// From the time that a change was due at the owner, and from its commit, to the replica's row
// being visible, under open load; and what an idle system costs.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "bench/postgres/member_system.hpp"

#include <fmt/format.h>

#include <thread>

namespace instep::bench {

namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::chrono::seconds kTime{10};
constexpr std::chrono::seconds kIdle{10};

/// The most rows that one look at the replica asks for.
constexpr std::int64_t kLook = 200;

/// When each change was due, committed and seen.
struct Change {
    SteadyTime due;
    SteadyTime committed;
    SteadyTime seen;
};

/// Changes member number 1 + i as the i-th change, each at its time.
void write_changes(const std::string& url, std::int64_t round, std::vector<Change>& changes) {
    Session session(url);
    session.prepare("change", "UPDATE members SET score = $2::bigint WHERE id = $1::bigint");
    for (std::size_t i = 0; i < changes.size(); ++i) {
        std::this_thread::sleep_until(changes[i].due);
        session.run_prepared("change", {std::to_string(i + 1), std::to_string(round)});
        changes[i].committed = std::chrono::steady_clock::now();
    }
}

/// Changes arrive in their order, so the replica is asked how many of the next are there.
void watch_changes(const std::string& url, std::int64_t round, std::vector<Change>& changes) {
    Session session(url);
    session.prepare("look",
                    "SELECT count(*) FROM members WHERE id > $1::bigint AND id <= $1::bigint + "
                    "$2::bigint AND score = $3::bigint");
    for (std::size_t seen = 0; seen < changes.size();) {
        const Answer answer = session.run_prepared(
            "look", {std::to_string(seen), std::to_string(kLook), std::to_string(round)});
        const auto now = std::chrono::steady_clock::now();
        for (auto found = integer_at(answer.get(), 0, 0); found > 0; --found) {
            changes[seen++].seen = now;
        }
        std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
}

}  // namespace

void measure_latency(MemberSystem& members, std::int64_t a_second) {
    const std::int64_t round = 1'000'000 + a_second;
    std::vector<Change> changes(static_cast<std::size_t>(a_second * kTime.count()));
    const auto start = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
    for (std::size_t i = 0; i < changes.size(); ++i) {
        changes[i].due = start + i * std::chrono::microseconds(1'000'000 / a_second);
    }
    {
        const std::jthread watcher(
            [&] { watch_changes(members.system.replica_url(0), round, changes); });
        write_changes(members.system.owner_url(), round, changes);
    }
    std::vector<double> from_due;
    std::vector<double> from_commit;
    for (const Change& change : changes) {
        using Millis = std::chrono::duration<double, std::milli>;
        from_due.push_back(Millis(change.seen - change.due).count());
        from_commit.push_back(Millis(change.seen - change.committed).count());
    }
    fmt::print(
        "latency at {} changes/s, each its own commit\n"
        "  due to visible: p50 {:.2f} ms, p99 {:.2f} ms, max {:.2f} ms\n"
        "  committed to visible: p50 {:.2f} ms, p99 {:.2f} ms, max {:.2f} ms (bars: 2 and 10 ms)\n",
        a_second, quantile_of(from_due, 0.5), quantile_of(from_due, 0.99),
        quantile_of(from_due, 1.0), quantile_of(from_commit, 0.5), quantile_of(from_commit, 0.99),
        quantile_of(from_commit, 1.0));
}

void run_postgres_latency_bench(const BenchSize& size) {
    measure_sync_latency(without_broker ? "the log itself" : "an embedded broker", {}, size);
}

void measure_sync_latency(const char* name, const std::string& url, const BenchSize& size) {
    fmt::print("PostgreSQL to PostgreSQL by {}\n", name);
    MemberSystem members(1, size.rows.value_or(20'000), url);
    members.system.start_owner();
    members.fill_replica(0);
    measure_latency(members, 100);
    measure_latency(members, 1000);
    members.check_replica(0);

    std::this_thread::sleep_for(std::chrono::seconds(1));
    const Seconds process = cpu_time();
    const Seconds server = cpu_time_of(*members.server);
    std::this_thread::sleep_for(kIdle);
    fmt::print(
        "  idle: {:.2f} % of one core in the services, {:.2f} % in the server; peak memory {:.0f} "
        "MiB (bar 64)\n",
        (cpu_time() - process) / Seconds(kIdle) * 100.0,
        (cpu_time_of(*members.server) - server) / Seconds(kIdle) * 100.0, peak_memory_mib());
}

}  // namespace instep::bench
