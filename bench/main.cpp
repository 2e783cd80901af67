#include "bench/bench.hpp"

#include <fmt/format.h>

#include <exception>
#include <map>
#include <string_view>
#include <sys/wait.h>
#include <unistd.h>

namespace {

const std::map<std::string_view, void (*)()> kBenchmarks = {
    {"backfill", instep::bench::run_backfill_bench},
    {"latency", instep::bench::run_latency_bench},
    {"sync", instep::bench::run_sync_bench},
    {"verify", instep::bench::run_verify_bench},
};

/// In a process of its own, so that its peak memory is its own too.
int run_apart(void (*benchmark)()) {
    const pid_t child = fork();
    if (child == 0) {
        benchmark();
        std::fflush(stdout);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc == 1) {
        int failed = 0;
        for (const auto& [name, benchmark] : kBenchmarks) {
            failed |= run_apart(benchmark);
        }
        return failed;
    }
    for (int i = 1; i < argc; ++i) {
        const auto found = kBenchmarks.find(argv[i]);
        if (found == kBenchmarks.end()) {
            fmt::print(stderr, "there is no benchmark {}; known: backfill, latency, sync, verify\n",
                       argv[i]);
            return 2;
        }
        if (run_apart(found->second) != 0) {
            return 1;
        }
    }
    return 0;
} catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
}
