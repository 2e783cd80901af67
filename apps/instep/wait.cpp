#include "broker_problems.hpp"
#include "command.hpp"
#include "health.hpp"
#include "interrupt.hpp"
#include "output.hpp"
#include "services.hpp"
#include "waiting.hpp"

#include <fmt/format.h>

namespace instep::cli {

namespace {

struct WaitOptions {
    std::vector<std::string> files;
    std::optional<std::chrono::milliseconds> timeout = std::chrono::seconds(30);
    bool caught_up = false;
};

Result<ExitCode> wait(Context& context, const WaitOptions& options) {
    if (!options.caught_up) {
        return fail(ErrorCode::kInvalidArgument, "say what to wait for: --caught-up");
    }
    INSTEP_TRY_ASSIGN(const auto configs, load_services(options.files));
    const Interrupt interrupt;
    Brokers brokers(context.clock);
    Health health;
    // The write-ahead log does not say how many changes wait in it.
    std::vector<std::uint64_t> ends;
    for (const ServiceConfig& config : configs) {
        INSTEP_TRY_ASSIGN(ends.emplace_back(), mark_captured_end(config, context.clock));
    }
    const auto done = [&]() -> Result<bool> {
        INSTEP_TRY_ASSIGN(const auto services, observe(configs, context.clock, brokers));
        health = judge_health(services, context.clock.now());
        for (std::size_t i = 0; i < services.size(); ++i) {
            const auto& slot = services[i].status.wal_slot;
            if (slot && slot->position < ends[i]) {
                health.caught_up = false;
                health.sentence = fmt::format("The relay of {} is {} bytes of WAL behind.",
                                              services[i].config.name, ends[i] - slot->position);
            }
        }
        if (health.caught_up) {
            // Of a queue that is gone no lag tells.
            add_problems(health, find_broker_problems(services, brokers), services);
        }
        context.output.progress(health.sentence);
        return health.caught_up;
    };
    INSTEP_TRY(wait_until({done, [&] { return health.sentence; }}, options.timeout, interrupt,
                          context.clock));
    if (context.output.json()) {
        context.output.object(
            JsonObject("instep.wait/1").flag("caught_up", true).text("summary", health.sentence));
    } else {
        context.output.line(printable(health.sentence));
    }
    return ExitCode::kOk;
}

}  // namespace

void add_wait(CommandLine& line, Context& context) {
    const auto options = std::make_shared<WaitOptions>();
    Command command = line.command("wait", "Wait until services that run elsewhere are caught up");
    command.example("wait iam.toml data_owner.toml --caught-up --timeout 1m");
    command.arguments("FILE...", options->files, "Service files");
    command.flag("--caught-up", options->caught_up,
                 "Until no event waits in any log or subscription and every replica is live");
    command.option("--timeout", options->timeout, "Longest wait");
    command.runs([options, &context] { return wait(context, *options); });
}

}  // namespace instep::cli
