#include "command.hpp"
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

struct RunOptions {
    std::vector<std::string> files;
    std::string log_format = "text";
    std::string log_level = "info";
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

Result<ExitCode> run(Context& context, const RunOptions& options) {
    ::signal(SIGPIPE, SIG_IGN);
    const Interrupt interrupt;
    INSTEP_TRY_ASSIGN(const LogLevel level, parse_log_level(options.log_level));
    INSTEP_TRY_ASSIGN(auto configs, load_services(options.files));
    if (options.apply) {
        INSTEP_TRY(apply_services(configs, context.clock));
    }
    FileLogSink sink(STDERR_FILENO);
    Logger logger(sink, context.clock,
                  {.level = level,
                   .format = options.log_format == "json" ? LogFormat::kJson : LogFormat::kText});
    INSTEP_TRY_ASSIGN(const auto group, ServiceGroup::create(std::move(configs), context.clock,
                                                             context.random, logger));
    group->start();
    tell_ready(context.output, *group);
    interrupt.wait();
    notify_systemd("STOPPING=1");
    stop_in_time(context.output, *group);
    return ExitCode::kOk;
}

}  // namespace

void add_run(CommandLine& line, Context& context) {
    const auto options = std::make_shared<RunOptions>();
    Command command = line.command("run", "Run services until SIGINT or SIGTERM");
    command.example("run iam.toml");
    command.example("run iam.toml data_owner.toml --apply --log-format json");
    command.arguments("FILE...", options->files, "Service files");
    command.flag("--apply", options->apply, "First do what `instep apply` does");
    command.choice("--log-format", options->log_format, {"text", "json"}, "Log lines on stderr");
    command.choice("--log-level", options->log_level, {"debug", "info", "warn", "error"},
                   "Lines below are left out");
    command.runs([options, &context] { return run(context, *options); });
}

}  // namespace instep::cli
