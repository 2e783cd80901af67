#include "command.hpp"
#include "output.hpp"
#include "verification.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::cli {

namespace {

bool is_repaired(const VerificationOutcome& outcome) {
    return outcome.status.repaired == outcome.status.differences;
}

void show(Output& output, std::span<const VerificationOutcome> outcomes) {
    if (output.json()) {
        std::vector<JsonObject> objects;
        std::ranges::transform(outcomes, std::back_inserter(objects), to_json);
        output.object(JsonObject("instep.repair/1")
                          .flag("repaired", std::ranges::all_of(outcomes, is_repaired))
                          .objects("replicas", objects));
        return;
    }
    for (const VerificationOutcome& outcome : outcomes) {
        const VerificationStatus& status = outcome.status;
        output.line(fmt::format(
            "{}: {}", outcome.definition.address(),
            status.differences == 0
                ? fmt::format("nothing to repair in {}", counted(status.rows_checked, "row"))
                : fmt::format("{} of {} repaired", grouped(status.repaired),
                              counted(status.differences, "difference"))));
    }
    show_differences(output, outcomes);
}

Result<ExitCode> repair(Context& context, const VerificationOptions& options) {
    INSTEP_TRY_ASSIGN(const auto outcomes,
                      run_verification(context, options, VerificationPurpose::kRepair));
    show(context.output, outcomes);
    if (std::ranges::all_of(outcomes, is_repaired)) {
        return ExitCode::kOk;
    }
    context.output.message("Some changed meanwhile; run `instep repair` again.");
    return ExitCode::kPartial;
}

}  // namespace

void add_repair(CommandLine& line, Context& context) {
    const auto options = std::make_shared<VerificationOptions>();
    Command command = line.command("repair", "Make replicas equal to their sources, while in use");
    command.example("repair iam.toml data_owner.toml");
    command.example("repair data_owner.toml --table lookup_users  # iam runs elsewhere");
    declare_verification(command, *options);
    command.runs([options, &context] { return repair(context, *options); });
}

}  // namespace instep::cli
