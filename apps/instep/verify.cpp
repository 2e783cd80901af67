#include "command.hpp"
#include "output.hpp"
#include "verification.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::cli {

namespace {

bool equals_source(const VerificationOutcome& outcome) { return outcome.status.differences == 0; }

void show(Output& output, std::span<const VerificationOutcome> outcomes) {
    if (output.json()) {
        std::vector<JsonObject> objects;
        std::ranges::transform(outcomes, std::back_inserter(objects), to_json);
        output.object(JsonObject("instep.verify/1")
                          .flag("equal", std::ranges::all_of(outcomes, equals_source))
                          .objects("replicas", objects));
        return;
    }
    for (const VerificationOutcome& outcome : outcomes) {
        const VerificationStatus& status = outcome.status;
        const std::string name = outcome.definition.address();
        output.line(equals_source(outcome)
                        ? output.styled(Style::kGood, fmt::format("{} equals {}", name,
                                                                  outcome.definition.topic)) +
                              fmt::format(": {} compared", counted(status.rows_checked, "row"))
                        : output.styled(Style::kBad, fmt::format("{} is not equal to {}", name,
                                                                 outcome.definition.topic)) +
                              fmt::format(": {} in {}", counted(status.differences, "difference"),
                                          counted(status.rows_checked, "row")));
    }
    show_differences(output, outcomes);
}

Result<ExitCode> verify(Context& context, const VerificationOptions& options) {
    INSTEP_TRY_ASSIGN(const auto outcomes,
                      run_verification(context, options, VerificationPurpose::kVerify));
    show(context.output, outcomes);
    if (std::ranges::all_of(outcomes, equals_source)) {
        return ExitCode::kOk;
    }
    context.output.message("`instep repair` with the same files makes them equal.");
    return ExitCode::kProblemFound;
}

}  // namespace

void add_verify(CommandLine& line, Context& context) {
    const auto options = std::make_shared<VerificationOptions>();
    Command command = line.command("verify", "Compare replicas with their sources, while in use");
    command.example("verify iam.toml data_owner.toml");
    command.example("verify data_owner.toml --table lookup_users  # iam runs elsewhere");
    declare_verification(command, *options);
    command.runs([options, &context] { return verify(context, *options); });
}

}  // namespace instep::cli
