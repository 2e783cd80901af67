#include "command.hpp"
#include "output.hpp"
#include "schema_changes.hpp"
#include "services.hpp"

#include <fmt/format.h>

namespace instep::cli {

namespace {

struct ApplyOptions {
    std::vector<std::string> files;
};

void show(Output& output, std::span<const ServiceChanges> services) {
    for (const ServiceChanges& service : services) {
        for (const SchemaChange& change : service.changes) {
            output.line(fmt::format("{}: {}", service.service, change.summary));
        }
    }
    if (count_changes(services) == 0) {
        output.message("Nothing to do: every database is as its service file wants it.");
    }
}

Result<ExitCode> apply(Context& context, const ApplyOptions& options) {
    INSTEP_TRY_ASSIGN(const auto configs, load_services(options.files));
    INSTEP_TRY_ASSIGN(const auto services, apply_services(configs, context.clock));
    if (context.output.json()) {
        context.output.object(to_json("instep.apply/1", services));
    } else {
        show(context.output, services);
    }
    return ExitCode::kOk;
}

}  // namespace

void add_apply(CommandLine& line, Context& context) {
    const auto options = std::make_shared<ApplyOptions>();
    Command command = line.command("apply", "Bring databases to what their service files say");
    command.example("apply iam.toml data_owner.toml");
    command.arguments("FILE...", options->files,
                      "Service files; replicas are made from the owners' among them");
    command.runs([options, &context] { return apply(context, *options); });
}

}  // namespace instep::cli
