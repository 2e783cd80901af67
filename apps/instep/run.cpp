#include "command.hpp"
#include "instep/http/listener.hpp"
#include "instep/retry/backoff.hpp"
#include "instep/service/monitor.hpp"
#include "instep/telemetry/log_sink.hpp"
#include "instep/telemetry/logger.hpp"
#include "interrupt.hpp"
#include "output.hpp"
#include "services.hpp"
#include "systemd.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <unistd.h>

namespace instep::cli {

namespace {

/// How often it is looked whether a service was moved to another broker.
constexpr std::chrono::milliseconds kLookForMoves{500};

/// How long to wait for servers that are not there: those of one machine start in any order.
constexpr BackoffPolicy kServersAway{.initial = std::chrono::milliseconds(250),
                                     .max = std::chrono::milliseconds(5000)};

struct RunOptions {
    std::vector<std::string> files;
    std::string log_format = "text";
    std::string log_level = "info";
    std::string listen;
    bool apply = false;
};

void tell_ready(Output& output, const ServiceGroup& group) {
    std::vector<std::string> names;
    for (const auto& service : group.services()) {
        names.push_back(service->config().name);
    }
    if (output.json()) {
        output.object(JsonObject("instep.run/1").text("event", "ready").texts("services", names));
    } else {
        output.line(fmt::format("ready: {}", fmt::join(names, ", ")));
    }
    notify_systemd("READY=1");
}

/// Threads that outlive the grace could not be joined either, so the process ends as it is:
/// whatever is in flight rolls back and is done again after the next start.
[[noreturn]] void end_at_once(Output& output, const Error& error) {
    output.error(error, ExitCode::kFailed);
    std::_Exit(static_cast<int>(ExitCode::kFailed));
}

/// stop() waits for loops no longer than the grace, but what they then give up may be locked.
void stop_in_time(Output& output, ServiceGroup& group) {
    const std::jthread watchdog([&output](const std::stop_token& stopped) {
        std::mutex mutex;
        std::unique_lock lock(mutex);
        std::condition_variable_any never;
        never.wait_for(lock, stopped, kStopGrace, [] { return false; });
        if (!stopped.stop_requested()) {
            end_at_once(output, {ErrorCode::kTimeout,
                                 fmt::format("the services were not done {} after the signal; "
                                             "their leases end by themselves",
                                             kStopGrace)});
        }
    });
    if (const auto stopped = group.stop(); !stopped) {
        end_at_once(output, stopped.error());
    }
}

/// Before the services can be opened, so that it is seen what they wait for.
Result<void> show(Monitor& monitor, const std::vector<ServiceConfig>& configs) {
    for (const ServiceConfig& config : configs) {
        monitor.expect(config.name, "");
        if (!config.listen.empty()) {
            INSTEP_TRY(monitor.listen(config.listen));
        }
    }
    return {};
}

/// Waits for servers that are not there yet; null if a signal came first. Other errors end it.
Result<std::unique_ptr<ServiceGroup>> create_group(const std::vector<ServiceConfig>& configs,
                                                   bool apply, Context& context, Logger& logger,
                                                   Monitor& monitor, const Interrupt& interrupt) {
    const auto create = [&]() -> Result<std::unique_ptr<ServiceGroup>> {
        if (apply) {
            INSTEP_TRY(apply_services(configs, context.clock));
        }
        return ServiceGroup::create(configs, context.clock, context.random, logger, &monitor);
    };
    for (std::uint32_t attempt = 1;; ++attempt) {
        auto group = create();
        if (group || group.error().code != ErrorCode::kUnavailable) {
            return group;
        }
        const auto pause = kServersAway.delay(attempt, context.random);
        for (const ServiceConfig& config : configs) {
            monitor.expect(config.name, group.error().message);
        }
        logger.warn("run.waiting",
                    {{"error", group.error().message}, {"retry_in_ms", pause.count()}});
        if (interrupt.wait_for(pause)) {
            return nullptr;
        }
    }
}

Result<ExitCode> run(Context& context, const RunOptions& options) {
    ::signal(SIGPIPE, SIG_IGN);
    const Interrupt interrupt;
    INSTEP_TRY_ASSIGN(const LogLevel level, parse_log_level(options.log_level));
    INSTEP_TRY_ASSIGN(auto configs, load_services(options.files));
    if (!options.listen.empty()) {
        INSTEP_TRY(check_listen_address(options.listen));
        for (ServiceConfig& config : configs) {
            config.listen = options.listen;
        }
    }
    FileLogSink sink(STDERR_FILENO);
    Logger logger(sink, context.clock,
                  {.level = level,
                   .format = options.log_format == "json" ? LogFormat::kJson : LogFormat::kText});
    Monitor monitor(context.clock, context.random, logger, make_process_id(context.random));
    INSTEP_TRY(show(monitor, configs));
    INSTEP_TRY_ASSIGN(const auto group,
                      create_group(configs, options.apply, context, logger, monitor, interrupt));
    if (!group) {
        return ExitCode::kOk;
    }
    group->start();
    tell_ready(context.output, *group);
    while (!interrupt.wait_for(kLookForMoves)) {
        if (const auto followed = group->follow_moves(); !followed) {
            logger.error("run.move_failed", {{"error", followed.error().message}});
        }
    }
    notify_systemd("STOPPING=1");
    stop_in_time(context.output, *group);
    return ExitCode::kOk;
}

}  // namespace

void add_run(CommandLine& line, Context& context) {
    const auto options = std::make_shared<RunOptions>();
    Command command = line.command("run", "Run services until SIGINT, SIGTERM or SIGHUP");
    command.example("run iam.toml");
    command.example("run iam.toml data_owner.toml --apply --log-format json");
    command.example("run iam.toml --listen 127.0.0.1:9464");
    command.arguments("FILE...", options->files, "Service files");
    command.flag("--apply", options->apply, "First do what `instep apply` does");
    command.option("--listen", options->listen,
                   "Where to answer /metrics and /healthz, such as 127.0.0.1:9464; instead of "
                   "what the files say");
    command.choice("--log-format", options->log_format, {"text", "json"}, "Log lines on stderr");
    command.choice("--log-level", options->log_level, {"debug", "info", "warn", "error"},
                   "Lines below are left out");
    command.runs([options, &context] { return run(context, *options); });
}

}  // namespace instep::cli
