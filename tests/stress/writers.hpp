// Writers that do to a table what makes readers of a log fail: early transaction ids, late
// commits, rollbacks, savepoints, deletes, key changes, statements of many rows, pauses while
// a transaction is open.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace instep::stress {

struct WriterOptions {
    std::string url;
    int writers = 12;
    int keys = 60;
    std::uint64_t seed = 1;
};

/// The table items (id, v, note), which the writers change, and what else they write to.
inline constexpr const char* kTables =
    "CREATE TABLE items (id integer PRIMARY KEY, v bigint NOT NULL, note text); "
    "CREATE TABLE other (writer integer, number bigint)";

/// Owns a thread and a connection for each writer, from construction to destruction.
class Writers {
public:
    explicit Writers(const WriterOptions& options);

    /// Lets each transaction come to its end.
    void stop();

    /// Transactions that ended, rolled back ones among them.
    [[nodiscard]] std::uint64_t transactions() const { return transactions_; }

private:
    std::atomic<std::uint64_t> transactions_ = 0;
    std::vector<std::jthread> threads_;
};

}  // namespace instep::stress
