// Runs the stress for as long as one likes; see tests/stress/stress.hpp.
#include "tests/stress/stress.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <map>

namespace {

using instep::CaptureBy;
using namespace instep::stress;

int run_command(int argc, char** argv) {
    StressOptions options;
    std::uint64_t runs = 1;
    std::uint64_t seconds = 6;
    std::string capture = "triggers";
    std::string reader = "snapshot";
    CLI::App app("Writes to a table in every bad way, and compares its replicas");
    app.add_option("--runs", runs, "How many runs");
    app.add_option("--seconds", seconds, "How long each one writes");
    app.add_option("--writers", options.writers, "How many write at once");
    app.add_option("--keys", options.keys, "How many keys they write to");
    app.add_option("--seed", options.seed, "Of the first run; it rises by one");
    app.add_option("--capture", capture, "How changes are captured")
        ->check(CLI::IsMember({"triggers", "wal"}));
    app.add_option("--reader", reader,
                   "How the log of triggers is read; all but snapshot are wrong")
        ->check(CLI::IsMember({"snapshot", "sequence", "xmin"}));
    CLI11_PARSE(app, argc, argv);
    options.time = std::chrono::seconds(seconds);
    options.capture = capture == "wal" ? CaptureBy::kWal : CaptureBy::kTriggers;
    if (reader != "snapshot") {
        options.bad_reader = reader == "xmin" ? BadReader::kXminFence : BadReader::kSequence;
    }
    std::uint64_t failed = 0;
    for (std::uint64_t run = 1; run <= runs; ++run, ++options.seed) {
        const StressResult result = run_stress(options);
        fmt::print("run {}: {}\n", run, to_text(result));
        std::fflush(stdout);
        if (!result.is_clean()) {
            ++failed;
            fmt::print(stderr, "{}\n", result.log);
        }
    }
    fmt::print("{} of {} runs failed\n", failed, runs);
    return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run_command(argc, argv);
    } catch (const std::exception& error) {
        fmt::print(stderr, "instep_stress: {}\n", error.what());
        return 2;
    }
}
