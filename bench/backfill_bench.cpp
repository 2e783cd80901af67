// Filling a new replica against INSERT … SELECT from an attached database.
#include "bench/bench.hpp"
#include "bench/user_table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace instep::bench {

namespace {

constexpr std::int64_t kRows = 1'000'000;

Seconds copy_by_insert_select(System& system) {
    auto target = system.connect_file("copied.db");
    std::string columns;
    for (const std::string& column : user_entry().columns) {
        columns += fmt::format("{} {}, ", column, column.starts_with("is_") ? "INTEGER" : "TEXT");
    }
    must(target->execute_script(fmt::format(
        "CREATE TABLE lookup_users ({}instep_version BLOB, PRIMARY KEY (id)) WITHOUT ROWID;"
        "ATTACH '{}' AS iam",
        columns, system.dir.file("iam.db"))));
    return time_of([&] {
        must(target->execute(
            fmt::format(
                "INSERT INTO lookup_users SELECT {}, zeroblob(16) FROM iam.users ORDER BY id",
                fmt::join(user_entry().columns, ", ")),
            {}));
    });
}

}  // namespace

void run_backfill_bench() {
    System system(1);
    {
        auto owner = system.connect_owner();
        create_user_table(*owner, "users");
        write_users(*owner, "users", 0, kRows, 10'000, 0);
    }
    system.start_owner();
    const double memory_before = peak_memory_mib();
    const Seconds filled = time_of([&] {
        system.start_replicas();
        wait_until([&] { return system.caught_up(); });
    });
    const double memory = peak_memory_mib();
    const Seconds copied = copy_by_insert_select(system);
    fmt::print(
        "backfill of {} rows: {:.2f} s ({:.0f}/s); INSERT … SELECT: {:.2f} s ({:.0f}/s); ratio "
        "{:.2f}\n  peak memory {:.0f} MiB (before the backfill {:.0f} MiB)\n",
        kRows, filled.count(), kRows / filled.count(), copied.count(), kRows / copied.count(),
        copied / filled, memory, memory_before);
}

}  // namespace instep::bench
