#include "program.hpp"

#include <fmt/format.h>
#include <instep/base/clock.hpp>
#include <instep/base/random.hpp>
#include <instep/base/uuid.hpp>
#include <instep/telemetry/logger.hpp>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <unistd.h>

namespace orders {

using instep::ErrorCode;
using instep::Result;

namespace {

constexpr std::chrono::seconds kStopGrace{5};

/// How often it is looked whether the service was moved to another broker.
constexpr std::timespec kLookForMoves{.tv_sec = 0, .tv_nsec = 500'000'000};

/// Blocked in all threads that start later, so that they come to whoever waits for them.
sigset_t block_end_signals() {
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGINT);
    ::sigaddset(&signals, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    return signals;
}

Result<std::string> read_file(const std::filesystem::path& path) {
    std::ifstream file(path);
    if (!file) {
        return instep::fail(ErrorCode::kNotFound,
                            fmt::format("cannot read {}, which makes the tables", path.string()));
    }
    return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

Result<void> prepare(const instep::ServiceConfig& config, std::string_view tables) {
    const instep::SystemClock clock;
    INSTEP_TRY_ASSIGN(const std::string script,
                      read_file(std::filesystem::path(config.path).parent_path() / tables));
    INSTEP_TRY_ASSIGN(const auto database, instep::open_database(config.database, clock,
                                                                 instep::MissingDatabase::kCreate));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    INSTEP_TRY(connection->execute_script(script));
    INSTEP_TRY(instep::apply_service(config, clock, {}));
    return {};
}

Result<void> run(const instep::ServiceConfig& config, const instep::Handlers& handlers) {
    ::signal(SIGPIPE, SIG_IGN);
    const sigset_t signals = block_end_signals();
    const instep::SystemClock clock;
    instep::SystemRandom random;
    instep::FileLogSink sink(STDERR_FILENO);
    instep::Logger logger(sink, clock);
    instep::Brokers brokers(clock);
    const instep::Surroundings surroundings{clock, random, logger, brokers,
                                            instep::make_uuid_v7(clock, random)};
    bool asked_to_end = false;
    while (!asked_to_end) {
        INSTEP_TRY_ASSIGN(const auto service,
                          instep::Service::create(config, surroundings, handlers));
        service->start();
        fmt::print("ready\n");
        std::fflush(stdout);
        while (!asked_to_end && !service->has_moved()) {
            asked_to_end = ::sigtimedwait(&signals, nullptr, &kLookForMoves) > 0;
        }
        INSTEP_TRY(service->stop(kStopGrace));
    }
    return {};
}

int exit_code_of(const std::function<Result<void>()>& body) {
    instep::Error error{ErrorCode::kClosed, {}};
    try {
        const Result<void> done = body();
        if (done) {
            return 0;
        }
        error = done.error();
    } catch (const std::exception& thrown) {
        error.message = thrown.what();
    }
    fmt::print(stderr, "{}\n", error.message);
    if (error.code == ErrorCode::kInvalidArgument) {
        return 2;
    }
    if (error.code == ErrorCode::kNotFound) {
        return 5;
    }
    return error.code == ErrorCode::kConflict ? 6 : 1;
}

}  // namespace orders
