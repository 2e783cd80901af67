#include "bench/bench.hpp"
#include "bench/handlers/benchmarks.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <exception>
#include <functional>
#include <map>
#include <ranges>
#include <string_view>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace instep::bench;

using Benchmark = std::function<void(const BenchSize&)>;

const std::map<std::string_view, Benchmark> kBenchmarks = {
    {"backfill", [](const BenchSize&) { run_backfill_bench(); }},
    {"handlers", run_dispatch_bench},
    {"handlers-flow", run_handler_flow_bench},
    {"handlers-parking", run_parking_bench},
    {"kafka", run_kafka_bench},
    {"kafka-latency", run_kafka_latency_bench},
    {"kafka-sync", run_kafka_sync_bench},
    {"latency", [](const BenchSize&) { run_latency_bench(); }},
    {"pg-apply", run_postgres_apply_bench},
    {"pg-backfill", run_postgres_backfill_bench},
    {"pg-latency", run_postgres_latency_bench},
    {"pg-long", run_postgres_long_bench},
    {"pg-outbox", run_postgres_outbox_bench},
    {"pg-relay", run_postgres_relay_bench},
    {"pg-sync", run_postgres_sync_bench},
    {"pg-triggers", run_postgres_trigger_bench},
    {"pg-verify", run_postgres_verify_bench},
    {"pg-wal", run_postgres_wal_bench},
    {"rabbitmq", run_rabbitmq_bench},
    {"rabbitmq-latency", run_rabbitmq_latency_bench},
    {"rabbitmq-sync", run_rabbitmq_sync_bench},
    {"redis", run_redis_bench},
    {"redis-latency", run_redis_latency_bench},
    {"redis-sync", run_redis_sync_bench},
    {"sync", [](const BenchSize&) { run_sync_bench(); }},
    {"verify", [](const BenchSize&) { run_verify_bench(); }},
};

/// Takes half an hour, and says something only about a large log.
constexpr std::string_view kOnlyByName = "pg-long";

/// In a process of its own, so that its peak memory is its own too.
int run_apart(const Benchmark& benchmark, const BenchSize& size) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        int failed = 0;
        try {
            benchmark(size);
        } catch (const std::exception& error) {
            fmt::print(stderr, "{}\n", error.what());
            failed = 1;
        }
        std::fflush(stdout);
        _exit(failed);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status == 0 ? 0 : 1;
}

struct CommandLine {
    std::vector<std::string_view> names;
    BenchSize size;
};

std::int64_t number(std::string_view option, std::string_view text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value < 1) {
        throw std::runtime_error(fmt::format("{} needs a number from 1, not {}", option, text));
    }
    return value;
}

CommandLine parse(std::span<char*> arguments) {
    CommandLine line;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string_view next = arguments[i];
        const std::string_view after = i + 1 < arguments.size() ? arguments[i + 1] : "";
        if (next == "--rows") {
            line.size.rows = number(next, after);
            ++i;
        } else if (next == "--rounds") {
            line.size.rounds = static_cast<int>(number(next, after));
            ++i;
        } else if (next == "--direct") {
            without_broker = true;
        } else if (kBenchmarks.contains(next)) {
            line.names.push_back(next);
        } else {
            throw std::runtime_error(
                fmt::format("there is no benchmark {}; known: {}; options: --rows N, --rounds N, "
                            "--direct",
                            next, fmt::join(std::views::keys(kBenchmarks), ", ")));
        }
    }
    if (line.names.empty()) {
        for (const std::string_view name : std::views::keys(kBenchmarks)) {
            if (name != kOnlyByName) {
                line.names.push_back(name);
            }
        }
    }
    return line;
}

}  // namespace

int main(int argc, char** argv) try {
    const CommandLine line = parse(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
    int failed = 0;
    for (const std::string_view name : line.names) {
        failed |= run_apart(kBenchmarks.at(name), line.size);
    }
    return failed;
} catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
}
