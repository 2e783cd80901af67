// Sync through the embedded path against the same rows written by the same transactions
// straight into the replica table.
#include "bench/bench.hpp"
#include "bench/user_table.hpp"

#include <fmt/format.h>

#include <thread>

namespace instep::bench {

namespace {

constexpr std::int64_t kRows = 100'000;
constexpr std::int64_t kBatch = 100;
constexpr std::size_t kReplicas = 3;

}  // namespace

void run_sync_bench() {
    System system(kReplicas);
    {
        auto owner = system.connect_owner();
        create_user_table(*owner, "users");
        write_users(*owner, "users", 0, kRows, 1000, 0);
    }
    system.start_owner();
    system.start_replicas();
    wait_until([&] { return system.caught_up(); });

    auto direct = system.copy_replica("direct.db");
    std::vector<std::unique_ptr<Connection>> apart;
    for (std::size_t i = 0; i < kReplicas; ++i) {
        apart.push_back(system.copy_replica(fmt::format("apart{}.db", i)));
    }

    fmt::print("sync: {} updates in transactions of {}, {} replicas\n", kRows, kBatch, kReplicas);
    for (std::int64_t round = 1; round <= 3; ++round) {
        const Seconds one = time_of([&] { write_replica(*direct, 0, kRows, kBatch, round); });
        const Seconds all = time_of([&] {
            std::vector<std::jthread> writers;
            for (auto& connection : apart) {
                writers.emplace_back(
                    [&connection, round] { write_replica(*connection, 0, kRows, kBatch, round); });
            }
        });
        auto owner = system.connect_owner();
        Seconds written{};
        const Seconds synced = time_of([&] {
            written = time_of([&] { write_users(*owner, "users", 0, kRows, kBatch, round); });
            wait_until([&] { return system.caught_up(); });
        });
        const auto rate = [](Seconds time) { return static_cast<double>(kRows) / time.count(); };
        fmt::print(
            "  round {}: straight into one table {:.0f}/s, into three at once {:.0f}/s each, "
            "owner's "
            "writes alone took {:.2f} s, synced {:.0f}/s a replica\n"
            "           ratio to one writer {:.2f}, ratio to three writers {:.2f}\n",
            round, rate(one), rate(all), written.count(), rate(synced), one / synced, all / synced);
    }
    fmt::print("  peak memory {:.0f} MiB\n", peak_memory_mib());
}

}  // namespace instep::bench
