#include "demo_break.hpp"
#include "demo_directory.hpp"
#include "demo_latency.hpp"
#include "demo_proof.hpp"
#include "demo_report.hpp"
#include "demo_system.hpp"
#include "demo_view.hpp"
#include "demo_writer.hpp"
#include "instep/telemetry/redact.hpp"
#include "interrupt.hpp"
#include "output.hpp"

#include <fmt/format.h>

#include <optional>
#include <thread>

namespace instep::cli {

namespace {

using namespace std::chrono_literals;

struct DemoOptions {
    std::optional<std::uint64_t> seconds = 20;
    std::optional<std::uint64_t> rows = 10'000;
    std::optional<std::uint64_t> rate = 100;
    DemoPlace place;
};

constexpr std::uint64_t kSecondsMax = 7 * 86'400;
constexpr std::uint64_t kRowsMax = 10'000'000;
constexpr std::uint64_t kRateMax = 100'000;

Result<void> check_bounds(std::string_view option, std::uint64_t value, std::uint64_t max) {
    if (value < 1 || value > max) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{} takes 1 to {}, not {}", option, grouped(max), value));
    }
    return {};
}

Result<void> check(const DemoOptions& options) {
    INSTEP_TRY(check_bounds("--seconds", *options.seconds, kSecondsMax));
    INSTEP_TRY(check_bounds("--rows", *options.rows, kRowsMax));
    INSTEP_TRY(check_bounds("--rate", *options.rate, kRateMax));
    return {};
}

/// Until the time is over or a signal comes. Returns how long it was.
Result<std::chrono::microseconds> watch(DemoSystem& system, LatencyProbe& probe,
                                        std::chrono::seconds length, const Interrupt& interrupt) {
    constexpr std::chrono::milliseconds kLookEvery = 250ms;
    const Clock& clock = system.context().clock;
    const bool is_silent = system.context().output.json();
    DemoView view(system, probe, length);
    if (!is_silent) {
        view.begin();
    }
    const auto start = clock.monotonic();
    for (;;) {
        const auto elapsed = clock.monotonic() - start;
        INSTEP_TRY_ASSIGN(const SystemLook look, system.look());
        if (look.is_live()) {
            probe.begin_measuring();
        }
        if (!is_silent) {
            INSTEP_TRY(view.show(look, elapsed));
        }
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(length - (clock.monotonic() - start));
        if (left <= 0ms || interrupt.wait_for(std::min(left, kLookEvery))) {
            view.end();
            return clock.monotonic() - start;
        }
    }
}

/// What still waits has arrived by now; the probe only has to see it.
void drain(const LatencyProbe& probe) {
    constexpr auto kPause = 1ms;
    constexpr int kPausesMax = 2000;
    for (int pauses = 0; !probe.is_drained() && pauses < kPausesMax; ++pauses) {
        std::this_thread::sleep_for(kPause);
    }
}

Result<ExitCode> demo(Context& context, const DemoOptions& options) {
    INSTEP_TRY(check(options));
    INSTEP_TRY_ASSIGN(const auto system,
                      DemoSystem::prepare(context, options.place, *options.rows));
    const Interrupt interrupt;
    INSTEP_TRY_ASSIGN(const auto probe, system->make_probe());
    INSTEP_TRY_ASSIGN(const auto writer,
                      system->make_writer({.rate = *options.rate,
                                           .committed = [&probe](const CommittedChange& change) {
                                               probe->note(change);
                                           }}));
    INSTEP_TRY(system->start_all());
    probe->start();
    writer->start();
    DemoResult result;
    INSTEP_TRY_ASSIGN(result.ran,
                      watch(*system, *probe, std::chrono::seconds(*options.seconds), interrupt));
    INSTEP_TRY(writer->stop());
    context.output.progress("catching up, verifying, comparing");
    INSTEP_TRY_ASSIGN(result.proof, prove(*system));
    drain(*probe);
    INSTEP_TRY(probe->stop());
    result.latency = probe->all().figures();
    for (std::size_t i = 0; i < system->replicas().size(); ++i) {
        result.replica_latency.push_back(probe->of(i).figures());
    }
    INSTEP_TRY_ASSIGN(result.look, system->look());
    INSTEP_TRY_ASSIGN(result.resource, describe_resource(*system->replicas().front().connection));
    INSTEP_TRY(system->close());
    if (context.output.json()) {
        context.output.object(to_json(result));
    } else {
        show(context.output, result, *system);
    }
    return result.ok() ? ExitCode::kOk : ExitCode::kProblemFound;
}

}  // namespace

void add_demo(CommandLine& line, Context& context) {
    const auto options = std::make_shared<DemoOptions>();
    Command command = line.command("demo", "A user directory in step across four services, live");
    command.example("demo");
    command.example("demo --seconds 60 --rows 100000 --rate 1000");
    command.example("demo --database postgresql://postgres@localhost --seconds 60");
    command.example("demo --broker redis://localhost");
    command.example("demo break kill-relay");
    command.option("--seconds", options->seconds, "How long changes are made");
    command.option("--rows", options->rows, "Users that are there before the replicas");
    command.option("--rate", options->rate, "Changes a second");
    options->place.add_to(command);
    command.runs([options, &context] { return demo(context, *options); });
    add_demo_break(command, context);
}

}  // namespace instep::cli
