// Verifying a replica with ten differences against reading both tables once.
#include "bench/bench.hpp"
#include "bench/user_table.hpp"
#include "instep/replica/verification.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace instep::bench {

namespace {

constexpr std::int64_t kRows = 1'000'000;

/// Reads every column of every row, in key order, as a verification has to.
void read_table(Connection& connection, std::string_view table) {
    auto rows = must(connection.query(
        fmt::format("SELECT {} FROM {} ORDER BY id", fmt::join(user_entry().columns, ", "), table),
        {}));
    std::size_t bytes = 0;
    while (must(rows->next())) {
        for (std::size_t i = 0; i < rows->column_count(); ++i) {
            bytes += rows->text(i).size();
        }
    }
    if (bytes == 0) {
        throw std::runtime_error("the table is empty");
    }
}

}  // namespace

void run_verify_bench() {
    System system(1);
    auto owner = system.connect_owner();
    create_user_table(*owner, "users");
    write_users(*owner, "users", 0, kRows, 10'000, 0);
    system.start_owner();
    system.start_replicas();
    wait_until([&] { return system.caught_up(); });
    auto replica = system.connect_replica(0);
    must(replica->execute(
        "UPDATE lookup_users SET last_name = 'Damaged' WHERE username IN ('user.1', 'user.100000', "
        "'user.200000', 'user.300000', 'user.400000', 'user.500000', 'user.600000', 'user.700000', "
        "'user.800000', 'user.900000')",
        {}));
    for (int round = 1; round <= 3; ++round) {
        const Seconds read = time_of([&] {
            read_table(*owner, "users");
            read_table(*replica, "lookup_users");
        });
        VerificationStatus status;
        const Seconds verified = time_of([&] {
            auto transaction = must(Transaction::begin(*replica, TransactionMode::kWrite));
            const std::string id = must(request_verification(
                transaction, system.definition(0), VerificationPurpose::kVerify, system.random));
            must(transaction.commit());
            wait_until([&] {
                status = must(read_verification(*replica, id));
                return status.finished;
            });
        });
        fmt::print(
            "verify of {} rows, round {}: {:.2f} s, {} differences; reading both tables once: "
            "{:.2f} "
            "s; ratio {:.2f}\n",
            status.rows_checked, round, verified.count(), status.differences, read.count(),
            verified / read);
    }
    fmt::print("  peak memory {:.0f} MiB\n", peak_memory_mib());
}

}  // namespace instep::bench
