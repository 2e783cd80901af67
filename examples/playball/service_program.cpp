#include "service_program.hpp"

#include "instep/event/payload.hpp"
#include "instep/http/listener.hpp"
#include "instep/service/monitor.hpp"
#include "instep/telemetry/log_sink.hpp"
#include "instep/telemetry/logger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
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

Result<std::string> act(const ServiceConfig& config, const Action& action, Arguments arguments,
                        const instep::Clock& clock) {
    INSTEP_TRY_ASSIGN(const auto database, instep::open_database(config.database, clock));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    INSTEP_TRY_ASSIGN(auto transaction,
                      instep::Transaction::begin(*connection, instep::TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(std::string line, action.run(transaction, arguments));
    INSTEP_TRY(transaction.commit());
    return line;
}

struct Answer {
    std::string result;
};
INSTEP_FIELDS(Answer, result)

struct Refusal {
    std::string error;
};
INSTEP_FIELDS(Refusal, error)

/// The action's arguments by their names. Errors: kInvalidArgument.
Result<std::vector<std::string>> read_arguments(const Action& action, const std::string& body) {
    const auto document = instep::JsonDocument::parse(body);
    if (!document) {
        return fail(ErrorCode::kInvalidArgument, "the body: " + document.error().message);
    }
    std::vector<std::string> arguments;
    for (const std::string_view parameter : action.parameters) {
        std::string name(parameter);
        std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
        INSTEP_TRY_ASSIGN(const auto field, document->root().field(name));
        if (!field) {
            return fail(ErrorCode::kInvalidArgument, name + ": is missing");
        }
        auto text = field->text();
        if (!text) {
            return instep::fail_in(name, std::move(text).error());
        }
        arguments.emplace_back(*text);
    }
    return arguments;
}

unsigned status_of(ErrorCode code) {
    if (code == ErrorCode::kInvalidArgument || code == ErrorCode::kLimitExceeded) {
        return 400;
    }
    if (code == ErrorCode::kNotFound) {
        return 404;
    }
    if (code == ErrorCode::kConflict || code == ErrorCode::kRejected) {
        return 409;
    }
    return instep::is_retryable(code) ? 503 : 500;
}

Result<std::string> act_on(const ServiceConfig& config, const Action& action,
                           const std::string& body, const instep::Clock& clock) {
    INSTEP_TRY_ASSIGN(const auto arguments, read_arguments(action, body));
    return act(config, action, arguments, clock);
}

instep::HttpResponse answer(const ServiceConfig& config, const Action& action,
                            const std::string& body, const instep::Clock& clock,
                            const instep::Logger& logger) {
    instep::HttpResponse response{.content_type = "application/json"};
    const auto outcome = act_on(config, action, body, clock);
    if (outcome) {
        response.body = instep::to_payload(Answer{*outcome});
        return response;
    }
    const instep::Error& error = outcome.error();
    response.status = status_of(error.code);
    // What is the service's own trouble stays in its log.
    const bool is_ours = response.status >= 500;
    if (is_ours) {
        logger.error("playball.request_failed",
                     {{"action", action.name}, {"error", error.message}});
    }
    response.body =
        instep::to_payload(Refusal{is_ours ? "it failed here; try again later" : error.message});
    return response;
}

Result<std::unique_ptr<instep::HttpListener>> listen(const ServiceConfig& config,
                                                     std::span<const Action> actions,
                                                     const instep::Surroundings& surroundings) {
    std::vector<instep::HttpRoute> routes = surroundings.monitor->routes();
    for (const Action& action : actions) {
        routes.push_back(
            {"POST", fmt::format("/{}", action.name), [&](const instep::HttpRequest& request) {
                 return answer(config, action, request.body, surroundings.clock,
                               surroundings.logger);
             }});
    }
    instep::HttpListenerOptions options;
    options.address = instep::process_environment()("LISTEN").value_or(options.address);
    return instep::HttpListener::open(options, std::move(routes), surroundings.logger);
}

Result<void> serve(const ServiceConfig& config, std::span<const Action> actions,
                   const Handlers& handlers, const instep::Clock& clock) {
    ::signal(SIGPIPE, SIG_IGN);
    const StopSignals signals;
    instep::SystemRandom random;
    instep::FileLogSink sink(STDERR_FILENO);
    instep::Logger logger(sink, clock);
    instep::Brokers brokers(clock);
    instep::Monitor monitor(
        clock, random, logger,
        fmt::format("{}/{}/{:08x}", config.name, ::getpid(), random.below(1ULL << 32U)));
    const instep::Surroundings surroundings{clock,   random, logger, brokers, monitor.process_id(),
                                            &monitor};
    INSTEP_TRY_ASSIGN(const auto listener, listen(config, actions, surroundings));
    while (true) {
        INSTEP_TRY_ASSIGN(const auto service,
                          instep::Service::create(config, surroundings, handlers));
        service->start();
        fmt::print("ready: {} at http://{}\n", config.name, listener->address());
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
        return exit_code(program, applied ? serve(*config, actions, handlers, clock) : applied);
    }
    const auto action = std::ranges::find(actions, command, &Action::name);
    if (action == actions.end() || action->parameters.size() != arguments.size()) {
        return usage(program, actions);
    }
    const auto line = act(*config, *action, arguments, clock);
    if (line) {
        fmt::print("{}\n", *line);
    }
    return exit_code(program, line ? Result<void>{} : std::unexpected(line.error()));
}

}  // namespace playball
