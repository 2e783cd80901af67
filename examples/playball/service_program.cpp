#include "service_program.hpp"

#include "instep/telemetry/log_sink.hpp"
#include "instep/telemetry/logger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <unistd.h>

namespace playball {

using instep::ErrorCode;
using instep::fail;
using instep::Handlers;
using instep::Result;
using instep::ServiceConfig;

namespace {

constexpr std::chrono::seconds kStopGrace{20};
constexpr int kUsage = 2;

/// SIGINT and SIGTERM as something to wait for. Made before the first thread, all of which then
/// leave the two signals alone.
class StopSignals {
public:
    StopSignals() {
        ::sigemptyset(&signals_);
        ::sigaddset(&signals_, SIGINT);
        ::sigaddset(&signals_, SIGTERM);
        ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    }

    /// True once one has come, false after half a second.
    [[nodiscard]] bool wait_briefly() const {
        const timespec patience{.tv_sec = 0, .tv_nsec = 500'000'000};
        return ::sigtimedwait(&signals_, nullptr, &patience) > 0;
    }

private:
    sigset_t signals_{};
};

Result<void> apply(const ServiceConfig& config, const instep::Clock& clock) {
    const auto path = std::filesystem::path(config.path).replace_extension(".sql");
    std::ostringstream tables;
    if (!(tables << std::ifstream(path).rdbuf())) {
        return fail(ErrorCode::kNotFound, fmt::format("cannot read {}", path.string()));
    }
    INSTEP_TRY_ASSIGN(const auto database, instep::open_database(config.database, clock,
                                                                 instep::MissingDatabase::kCreate));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    INSTEP_TRY(connection->execute_script(tables.str()));
    INSTEP_TRY(instep::apply_service(config, clock, {}));
    return {};
}

Result<void> serve(const ServiceConfig& config, const Handlers& handlers,
                   const instep::Clock& clock) {
    ::signal(SIGPIPE, SIG_IGN);
    const StopSignals signals;
    instep::SystemRandom random;
    instep::FileLogSink sink(STDERR_FILENO);
    instep::Logger logger(sink, clock);
    instep::Brokers brokers(clock);
    const std::string process_id =
        fmt::format("{}/{}/{:08x}", config.name, ::getpid(), random.below(1ULL << 32U));
    while (true) {
        INSTEP_TRY_ASSIGN(const auto service,
                          instep::Service::create(
                              config, {clock, random, logger, brokers, process_id}, handlers));
        service->start();
        fmt::print("ready: {}\n", config.name);
        std::fflush(stdout);
        bool is_to_stop = false;
        while (!is_to_stop && !service->has_moved()) {
            is_to_stop = signals.wait_briefly();
        }
        INSTEP_TRY(service->stop(kStopGrace));
        if (is_to_stop) {
            return {};
        }
    }
}

Result<void> act(const ServiceConfig& config, const Action& action, Arguments arguments,
                 const instep::Clock& clock) {
    INSTEP_TRY_ASSIGN(const auto database, instep::open_database(config.database, clock));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    INSTEP_TRY_ASSIGN(auto transaction,
                      instep::Transaction::begin(*connection, instep::TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(const std::string line, action.run(transaction, arguments));
    INSTEP_TRY(transaction.commit());
    fmt::print("{}\n", line);
    return {};
}

int usage(std::string_view program, std::span<const Action> actions) {
    fmt::print(stderr, "usage: {} SERVICE_FILE serve [--apply]\n", program);
    for (const Action& action : actions) {
        fmt::print(stderr, "       {} SERVICE_FILE {} {}\n", program, action.name,
                   fmt::join(action.parameters, " "));
    }
    return kUsage;
}

int exit_code(std::string_view program, const Result<void>& outcome) {
    if (!outcome) {
        fmt::print(stderr, "{}: {}\n", program, outcome.error().message);
    }
    return outcome ? 0 : 1;
}

}  // namespace

int run_program(const std::vector<std::string>& words, std::span<const Action> actions,
                const Handlers& handlers) {
    const std::string program = std::filesystem::path(words.at(0)).filename();
    if (words.size() < 3) {
        return usage(program, actions);
    }
    const std::string& command = words[2];
    const Arguments arguments = Arguments(words).subspan(3);
    const instep::SystemClock clock;
    const auto config = instep::load_service_file(words[1], instep::process_environment());
    if (!config) {
        return exit_code(program, std::unexpected(config.error()));
    }
    if (command == "serve") {
        const bool applies = arguments.size() == 1 && arguments[0] == "--apply";
        if (!applies && !arguments.empty()) {
            return usage(program, actions);
        }
        const Result<void> applied = applies ? apply(*config, clock) : Result<void>{};
        return exit_code(program, applied ? serve(*config, handlers, clock) : applied);
    }
    const auto action = std::ranges::find(actions, command, &Action::name);
    if (action == actions.end() || action->parameters.size() != arguments.size()) {
        return usage(program, actions);
    }
    return exit_code(program, act(*config, *action, arguments, clock));
}

}  // namespace playball
