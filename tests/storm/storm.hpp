// Real processes, a real broker, and everything that can fail: relays, consumers and the broker's
// server are killed, connections are cut and stall, while writers append to the lists of some
// keys in the owner's own transactions. Afterwards every subscription must have every number of
// every list, once, in order.
#pragma once

#include "tests/storm/options.hpp"

#include <cstdint>
#include <map>
#include <string>

namespace instep::storm {

struct StormResult {
    /// The first thing that was wrong with the run itself; empty if nothing was.
    std::string problem;
    std::uint64_t events = 0;
    std::uint64_t effects = 0;
    std::uint64_t lost = 0;
    std::uint64_t repeated = 0;
    std::uint64_t inversions = 0;

    /// By name, such as "relay killed".
    std::map<std::string, std::uint64_t> faults;

    /// Only of a run that was not clean, for whoever looks for the cause: when which harm was
    /// done, what is missing where, and what the broker's server says.
    std::string account;

    [[nodiscard]] bool is_clean() const {
        return problem.empty() && lost == 0 && repeated == 0 && inversions == 0;
    }
};

/// `program` is started again for the workers: see worker_arguments() in storm.cpp.
StormResult run_storm(const StormOptions& options, const std::string& program);

/// Lines for a person.
std::string to_text(const StormResult& result);

}  // namespace instep::storm
