// One run: everything that a seed decides, from the databases to the verdict.
#pragma once

#include "tests/simulation/planted_bugs.hpp"
#include "tests/simulation/trace.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace instep::simulation {

/// What is to be run.
struct Scenario {
    std::uint64_t seed = 0;

    /// May be null.
    const PlantedBug* bug = nullptr;

    /// Instead of the broker that the seed or the bug decides on.
    std::optional<BrokerKind> broker{};
};

struct RunResult {
    Scenario scenario;

    /// Empty if the run found nothing wrong.
    std::string finding;
    std::string options;
    std::uint64_t trace_hash = 0;
    std::uint64_t events = 0;
    std::vector<std::string> last_lines;
};

RunResult run(const Scenario& scenario, TraceText text = TraceText::kNone);

/// Runs the scenario of `result` again and tells what a person needs to see and repeat it.
std::string describe_failure(const RunResult& result);

}  // namespace instep::simulation
