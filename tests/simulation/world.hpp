// One run: everything that a seed decides, from the databases to the verdict.
#pragma once

#include "tests/simulation/planted_bugs.hpp"
#include "tests/simulation/trace.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace instep::simulation {

struct RunResult {
    std::uint64_t seed = 0;

    /// Empty if the run found nothing wrong.
    std::string finding;
    std::string options;
    std::uint64_t trace_hash = 0;
    std::uint64_t events = 0;
    std::vector<std::string> last_lines;
};

/// Runs one seed. `bug` may be null.
RunResult run_seed(std::uint64_t seed, const PlantedBug* bug, TraceText text = TraceText::kNone);

/// Runs the seed of `result` again and tells what a person needs to see and repeat it.
std::string describe_failure(const RunResult& result, const PlantedBug* bug);

}  // namespace instep::simulation
