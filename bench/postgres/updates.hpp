// Clients that update rows of a table of members, each statement committed by itself.
#pragma once

#include "bench/postgres/server.hpp"
#include "instep/base/random.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace instep::bench {

/// Updates of one kind on one table, for a client of its own.
class Updates {
public:
    /// Of `at_once` random rows of `rows`, in one statement.
    Updates(const std::string& url, const std::string& table, std::int64_t rows,
            std::int64_t at_once, std::uint64_t seed);

    /// Returns how many rows were updated in `time`.
    std::int64_t run_for(std::chrono::duration<double> time);

private:
    std::int64_t run_once();
    std::string next_ids();

    Session session_;
    const std::int64_t rows_;
    const std::int64_t at_once_;
    SeededRandom random_;
};

/// What clients do, and how many of them.
struct UpdateLoad {
    std::string url;
    std::string table;
    std::int64_t rows = 1;
    std::int64_t at_once = 1;
    int clients = 1;
    std::uint64_t seed = 1;
};

/// Clients that are connected and wait.
class Clients {
public:
    explicit Clients(const UpdateLoad& load);

    /// Returns how many rows were updated in `time`.
    std::int64_t run_for(std::chrono::duration<double> time);

private:
    std::vector<std::unique_ptr<Updates>> clients_;
};

}  // namespace instep::bench
