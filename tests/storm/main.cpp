// Runs a storm for as long as one likes; see tests/storm/storm.hpp.
#include "tests/storm/broker_servers.hpp"
#include "tests/storm/storm.hpp"
#include "tests/storm/worker.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <fstream>
#include <sys/prctl.h>

namespace {

using namespace instep::storm;

int run_command(int argc, char** argv) {
    StormOptions options;
    WorkerOptions work;
    std::uint64_t seconds = 60;
    std::string worker;
    std::string account;
    CLI::App app("Kills, cuts and stalls everything between a log and its consumers");
    app.add_option("--broker", options.broker, "Which broker's server to start")
        ->check(CLI::IsMember(broker_names()));
    app.add_option("--seconds", seconds, "How long it lasts");
    app.add_option("--seed", options.seed, "Decides which harm is done when");
    app.add_option("--writers", options.writers, "How many write at once");
    app.add_option("--keys", options.keys, "How many lists they write to");
    app.add_option("--partitions", options.partitions, "Of the service");
    app.add_flag("--calm", options.calm, "Do no harm");
    app.add_option("--account", account,
                   "A file to write when which harm was done, what is missing and what the "
                   "broker's server says, if the storm finds something wrong");
    app.add_flag("--forgetful", options.forgetful, "Consumers without inbox: finds repeats");
    auto* const role = app.add_option("--worker", worker, "Be a process of a storm")
                           ->check(CLI::IsMember({"relay", "consumer"}));
    app.add_option("--database", work.database)->needs(role);
    app.add_option("--broker-url", work.broker)->needs(role);
    app.add_option("--subscription", work.subscription)->needs(role);
    app.add_option("--member", work.member)->needs(role);
    CLI11_PARSE(app, argc, argv);
    if (!worker.empty()) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        work.role = worker == "relay" ? Role::kRelay : Role::kConsumer;
        return run_worker(work, options.partitions, options.forgetful);
    }
    options.time = std::chrono::seconds(seconds);
    const StormResult result = run_storm(options, "/proc/self/exe");
    fmt::print("{}", to_text(result));
    if (!account.empty() && !result.is_clean()) {
        std::ofstream(account) << result.account;
    }
    return result.is_clean() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run_command(argc, argv);
    } catch (const std::exception& error) {
        fmt::print(stderr, "instep_storm: {}\n", error.what());
        return 2;
    }
}
