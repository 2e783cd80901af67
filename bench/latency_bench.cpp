// From the commit in the owner's database to the commit in a replica's, at 100 changes/s; and
// what an idle system costs.
#include "bench/bench.hpp"
#include "bench/user_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

namespace instep::bench {

namespace {

constexpr std::int64_t kRows = 1000;
constexpr int kChanges = 1000;
constexpr std::chrono::milliseconds kInterval{10};
constexpr std::chrono::seconds kIdle{10};

/// Watches one replica's row count of a round by looking at the newest updated_at. Resolution:
/// one look, some 100 µs.
double wait_for_change(Connection& replica, std::string_view mark,
                       std::chrono::steady_clock::time_point committed) {
    for (;;) {
        auto rows = must(replica.query("SELECT 1 FROM lookup_users WHERE position = $1",
                                       std::initializer_list<ValueView>{mark}));
        if (must(rows->next())) {
            return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() -
                                                             committed)
                .count();
        }
        rows.reset();
        std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
}

}  // namespace

void run_latency_bench() {
    System system(3);
    auto owner = system.connect_owner();
    create_user_table(*owner, "users");
    write_users(*owner, "users", 0, kRows, 1000, 0);
    system.start_owner();
    system.start_replicas();
    wait_until([&] { return system.caught_up(); });
    auto replica = system.connect_replica(0);
    must(replica->execute_script("CREATE INDEX by_position ON lookup_users (position)"));

    std::vector<double> latencies;
    auto next = std::chrono::steady_clock::now();
    for (int i = 0; i < kChanges; ++i) {
        std::this_thread::sleep_until(next += kInterval);
        const std::string mark = fmt::format("mark {}", i);
        must(owner->execute(
            "UPDATE users SET position = $1 WHERE username = $2",
            std::initializer_list<ValueView>{std::string_view(mark), std::string_view("user.7")}));
        latencies.push_back(wait_for_change(*replica, mark, std::chrono::steady_clock::now()));
    }
    std::ranges::sort(latencies);
    const auto quantile = [&](double q) {
        return latencies[static_cast<std::size_t>(q * static_cast<double>(kChanges - 1))];
    };
    fmt::print(
        "latency at 100 changes/s, commit to replica commit: p50 {:.2f} ms, p99 {:.2f} ms, "
        "max {:.2f} ms\n",
        quantile(0.5), quantile(0.99), quantile(1.0));

    std::this_thread::sleep_for(std::chrono::seconds(1));
    const Seconds before = cpu_time();
    std::this_thread::sleep_for(kIdle);
    fmt::print("  idle: {:.2f} % of one core, peak memory {:.0f} MiB\n",
               (cpu_time() - before) / Seconds(kIdle) * 100.0, peak_memory_mib());
}

}  // namespace instep::bench
