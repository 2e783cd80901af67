// Runs seeds of the simulation; see `./dev sim`.
#include "tests/simulation/world.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>

namespace {

using namespace instep::simulation;

struct Request {
    std::uint64_t from = 1;
    std::uint64_t seeds = 1000;
    bool one = false;
    bool trace = false;
    const PlantedBug* bug = nullptr;
    std::optional<BrokerKind> broker;
};

/// Prints failures as they come; returns how many there were.
std::uint64_t run_all(const Request& request) {
    std::uint64_t failed = 0;
    std::uint64_t events = 0;
    for (std::uint64_t seed = request.from; seed < request.from + request.seeds; ++seed) {
        const RunResult result = run({.seed = seed, .bug = request.bug, .broker = request.broker},
                                     request.trace ? TraceText::kPrinted : TraceText::kNone);
        events += result.events;
        if (result.finding.empty()) {
            continue;
        }
        ++failed;
        if (request.bug != nullptr && !request.one) {
            fmt::print("seed {}: {}\n", seed, result.finding);
        } else if (request.trace) {
            fmt::print("seed {}: {}\noptions: {}\n", seed, result.finding, result.options);
        } else {
            fmt::print("{}\n", describe_failure(result));
        }
        std::fflush(stdout);
    }
    fmt::print("{} of {} seeds failed; {} events\n", failed, request.seeds, events);
    return failed;
}

int run_command(int argc, char** argv) {
    Request request;
    std::uint64_t seed = 0;
    std::string bug;
    std::string broker;
    bool list = false;
    CLI::App app("Runs the real code in a simulated world, one schedule a seed");
    app.add_option("--seeds", request.seeds, "How many seeds to run");
    app.add_option("--from", request.from, "The first seed");
    const auto* one = app.add_option("--seed", seed, "Run this seed alone");
    app.add_flag("--trace", request.trace, "Print every event");
    app.add_option("--broker", broker, "embedded, redis, amqp or kafka, whatever the seed says");
    app.add_option("--bug", bug, "Plant this bug");
    app.add_flag("--list-bugs", list, "List the bugs that can be planted");
    CLI11_PARSE(app, argc, argv);
    if (list) {
        for (const PlantedBug& planted : planted_bugs()) {
            fmt::print("{:<32} {}\n", planted.name, planted.meaning);
        }
        return 0;
    }
    if (one->count() > 0) {
        request.one = true;
        request.from = seed;
        request.seeds = 1;
    }
    request.bug = find_planted_bug(bug);
    if (!bug.empty() && request.bug == nullptr) {
        fmt::print(stderr, "there is no bug {}; see --list-bugs\n", bug);
        return 2;
    }
    request.broker = find_broker_kind(broker);
    if (!broker.empty() && !request.broker) {
        fmt::print(stderr, "there is no broker {}; see --help\n", broker);
        return 2;
    }
    return run_all(request) == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run_command(argc, argv);
    } catch (const std::exception& error) {
        fmt::print(stderr, "instep_simulation: {}\n", error.what());
        return 2;
    }
}
