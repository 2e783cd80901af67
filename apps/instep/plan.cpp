#include "command.hpp"
#include "output.hpp"
#include "schema_changes.hpp"
#include "services.hpp"

#include <fmt/format.h>

namespace instep::cli {

namespace {

struct PlanOptions {
    std::vector<std::string> files;
    bool check = false;
};

/// SQL that a shell of the database would take, with what it is for as comments.
void show(Output& output, std::span<const ServiceChanges> services) {
    for (const ServiceChanges& service : services) {
        for (const SchemaChange& change : service.changes) {
            output.line(output.styled(Style::kStrong,
                                      fmt::format("-- {}: {}", service.service, change.summary)));
            const bool complete = change.sql.ends_with(';') || change.sql.starts_with("--");
            output.line(fmt::format("{}{}\n", change.sql, complete ? "" : ";"));
        }
    }
    const std::size_t count = count_changes(services);
    output.message(count == 0 ? "Nothing to do: every database is as its service file wants it."
                              : fmt::format("{}; `instep apply` with the same files runs them.",
                                            counted(count, "change")));
}

Result<ExitCode> plan(Context& context, const PlanOptions& options) {
    INSTEP_TRY_ASSIGN(const auto configs, load_services(options.files));
    INSTEP_TRY_ASSIGN(const auto services, plan_services(configs, context.clock));
    if (context.output.json()) {
        context.output.object(to_json("instep.plan/1", services));
    } else {
        show(context.output, services);
    }
    return options.check && count_changes(services) > 0 ? ExitCode::kProblemFound : ExitCode::kOk;
}

}  // namespace

void add_plan(CommandLine& line, Context& context) {
    const auto options = std::make_shared<PlanOptions>();
    Command command = line.command("plan", "Show the SQL that apply would run");
    command.example("plan iam.toml data_owner.toml");
    command.example("plan iam.toml --check  # for a deploy script");
    command.arguments("FILE...", options->files,
                      "Service files; replicas are made from the owners' among them");
    command.flag("--check", options->check, "Exit with 8 if there is something to do");
    command.runs([options, &context] { return plan(context, *options); });
}

}  // namespace instep::cli
