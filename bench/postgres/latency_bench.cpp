// From the time that a change was due at the owner, and from its commit, to the replica's row
// being visible, under open load; and what an idle system costs.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "bench/postgres/member_system.hpp"
#include "bench/round_trip.hpp"

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace instep::bench {

namespace {

using std::chrono::microseconds;
using std::chrono::system_clock;

constexpr std::chrono::seconds kTime{10};
constexpr std::chrono::seconds kIdle{10};

/// When each change was due, committed and seen.
struct Change {
    system_clock::time_point due;
    system_clock::time_point committed;
    system_clock::time_point seen;
};

std::string score_of(std::int64_t a_second) { return std::to_string(1'000'000 + a_second); }

/// Changes member number 1 + i as the i-th change, each at its time.
void write_changes(const std::string& url, const std::string& score, std::vector<Change>& changes) {
    Session session(url);
    session.prepare("change", "UPDATE members SET score = $2::bigint WHERE id = $1::bigint");
    for (std::size_t i = 0; i < changes.size(); ++i) {
        std::this_thread::sleep_until(changes[i].due);
        session.run_prepared("change", {std::to_string(i + 1), score});
        changes[i].committed = system_clock::now();
    }
}

/// When the replica's transactions began to commit, which is when others see them, since they do
/// not wait for the disk. A session that looked for them all the time would take what it measures.
void read_arrivals(const std::string& url, const std::string& score, std::vector<Change>& changes) {
    Session session(url);
    const std::string arrived = "FROM members WHERE score = " + score;
    wait_until([&] {
        return session.value("SELECT count(*) " + arrived) == std::to_string(changes.size());
    });
    session.prepare(
        "arrivals",
        "SELECT (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint " + arrived +
            " ORDER BY id");
    const Answer answer = session.run_prepared("arrivals", {});
    for (std::size_t i = 0; i < changes.size(); ++i) {
        changes[i].seen = system_clock::time_point(
            microseconds(integer_at(answer.get(), static_cast<int>(i), 0)));
    }
}

std::string quantiles(const std::vector<Change>& changes, system_clock::time_point Change::* from,
                      system_clock::time_point Change::* to) {
    std::vector<double> millis;
    for (const Change& change : changes) {
        millis.push_back(
            std::chrono::duration<double, std::milli>(change.*to - change.*from).count());
    }
    return fmt::format("p50 {:.2f} ms, p99 {:.2f} ms, max {:.2f} ms", quantile_of(millis, 0.5),
                       quantile_of(millis, 0.99), quantile_of(millis, 1.0));
}

/// Changes `a_second` members a second for ten seconds, and prints how long each took to the
/// replica.
void measure_latency(MemberSystem& members, std::int64_t a_second) {
    const std::string score = score_of(a_second);
    std::vector<Change> changes(static_cast<std::size_t>(a_second * kTime.count()));
    const auto start = system_clock::now() + std::chrono::milliseconds(100);
    for (std::size_t i = 0; i < changes.size(); ++i) {
        changes[i].due = start + i * microseconds(1'000'000 / a_second);
    }
    write_changes(members.system.owner_url(), score, changes);
    read_arrivals(members.system.replica_url(0), score, changes);
    fmt::print(
        "latency at {} changes/s, each its own commit\n"
        "  due to committed at the owner: {}\n"
        "  due to visible: {}\n"
        "  committed to visible: {}\n",
        a_second, quantiles(changes, &Change::due, &Change::committed),
        quantiles(changes, &Change::due, &Change::seen),
        quantiles(changes, &Change::committed, &Change::seen));
}

}  // namespace

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
    if (!url.empty()) {
        measure_round_trip(members.system.broker());
    }

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
