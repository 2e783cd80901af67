#include "command.hpp"
#include "instep/replica/scan.hpp"
#include "output.hpp"
#include "scan_json.hpp"
#include "services.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace instep::cli {

namespace {

constexpr std::uint32_t kScansShownMax = 100;

struct ScansOptions {
    std::string file;
    std::string pause;
    std::string resume;
    std::string cancel;
};

Result<void> command(Connection& connection, const std::string& id, ScanCommand command) {
    if (id.empty()) {
        return {};
    }
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY(command_scan(transaction, id, command));
    return transaction.commit();
}

Result<void> check(const ScansOptions& options) {
    const std::array given = {options.pause, options.resume, options.cancel};
    if (std::ranges::count_if(given, [](const std::string& id) { return !id.empty(); }) > 1) {
        return fail(ErrorCode::kInvalidArgument, "give one of --pause, --resume and --cancel");
    }
    return {};
}

void show(Output& output, std::span<const ScanStatus> scans) {
    std::vector<JsonObject> objects;
    for (const ScanStatus& scan : scans) {
        objects.push_back(to_json(scan));
        if (!output.json()) {
            output.line(fmt::format("{}  {}  {}  {} of {} for {}{}{}", scan.id, scan.partition,
                                    scan.state, counted(scan.rows_sent, "row"), scan.entity,
                                    printable(scan.consumer), scan.error.empty() ? "" : ": ",
                                    printable(scan.error)));
        }
    }
    if (output.json()) {
        output.object(JsonObject("instep.scans/1").objects("scans", objects));
    } else if (scans.empty()) {
        output.message("Nobody has asked for this service's rows yet.");
    }
}

Result<ExitCode> scans(Context& context, const ScansOptions& options) {
    INSTEP_TRY(check(options));
    INSTEP_TRY_ASSIGN(const auto configs, load_services(std::span(&options.file, 1)));
    INSTEP_TRY_ASSIGN(const auto opened, ServiceDatabase::open(configs[0], context.clock));
    const auto& connection = opened.connection;
    INSTEP_TRY(command(*connection, options.pause, ScanCommand::kPause));
    INSTEP_TRY(command(*connection, options.resume, ScanCommand::kResume));
    INSTEP_TRY(command(*connection, options.cancel, ScanCommand::kCancel));
    INSTEP_TRY_ASSIGN(const auto listed, list_scans(*connection, kScansShownMax));
    show(context.output, listed);
    return ExitCode::kOk;
}

}  // namespace

void add_scans(CommandLine& line, Context& context) {
    const auto options = std::make_shared<ScansOptions>();
    Command command = line.command(
        "scans", "List backfills, verifications and repairs that read a service's tables");
    command.example("scans iam.toml");
    command.example("scans iam.toml --pause 019ca8bb-e45f-7b5b-bf0f-70fa41f23d84");
    command.argument("FILE", options->file, "The owner's service file");
    command.option("--pause", options->pause, "Let the scan of this id rest where it stands");
    command.option("--resume", options->resume, "Let it go on");
    command.option("--cancel", options->cancel, "End it; its replica is told why");
    command.runs([options, &context] { return scans(context, *options); });
}

}  // namespace instep::cli
