#include "command.hpp"
#include "instep/service/broker_move.hpp"
#include "instep/telemetry/redact.hpp"
#include "interrupt.hpp"
#include "output.hpp"
#include "services.hpp"
#include "waiting.hpp"

#include <fmt/format.h>

#include <filesystem>

namespace instep::cli {

namespace {

constexpr std::string_view kEmbedded = "embedded:";

struct MigrateOptions {
    std::vector<std::string> files;
    std::string to;
    std::optional<std::chrono::milliseconds> timeout = std::chrono::minutes(5);
};

/// Services may run in other folders than this command.
std::string with_absolute_path(const std::string& url) {
    const bool is_relative = url.starts_with(kEmbedded) && url.size() > kEmbedded.size() &&
                             url[kEmbedded.size()] != '/' && url[kEmbedded.size()] != '$';
    std::error_code ignored;
    return is_relative ? std::string(kEmbedded) +
                             std::filesystem::absolute(url.substr(kEmbedded.size()), ignored)
                                 .lexically_normal()
                                 .string()
                       : url;
}

Result<ExitCode> migrate(Context& context, const MigrateOptions& options) {
    if (options.to.empty()) {
        return fail(ErrorCode::kInvalidArgument, "say where to: --to URL");
    }
    const std::string new_broker = with_absolute_path(options.to);
    INSTEP_TRY_ASSIGN(const auto configs, load_services(options.files));
    for (const ServiceConfig& config : configs) {
        INSTEP_TRY(ServiceDatabase::open(config, context.clock));
    }
    const Interrupt interrupt;
    Brokers brokers(context.clock);
    MigrationStatus status;
    const auto done = [&]() -> Result<bool> {
        INSTEP_TRY_ASSIGN(status,
                          advance_broker_migration(configs, new_broker, context.clock, brokers));
        context.output.progress(status.waiting_for);
        return status.stage == MoveStage::kMoved;
    };
    const auto describe = [&] {
        return fmt::format(
            "{} on the old broker; this needs the services to run, and the same "
            "command goes on where it was",
            status.waiting_for.empty() ? "it is not known what is left" : status.waiting_for);
    };
    INSTEP_TRY(wait_until({done, describe}, options.timeout, interrupt, context.clock));
    std::vector<std::string> names;
    for (const ServiceConfig& config : configs) {
        names.push_back(config.name);
    }
    const std::string shown = redact_url(new_broker);
    if (context.output.json()) {
        context.output.object(JsonObject("instep.migrate-broker/1")
                                  .texts("services", names)
                                  .text("stage", to_string(status.stage))
                                  .text("broker", shown));
    } else {
        context.output.line(
            fmt::format("{} moved to {}. Name it as broker in {} before the next "
                        "move; the old one is not used any more.",
                        counted(names.size(), "service"), shown,
                        names.size() == 1 ? "its file" : "their files"));
    }
    return ExitCode::kOk;
}

}  // namespace

void add_migrate_broker(CommandLine& line, Context& context) {
    const auto options = std::make_shared<MigrateOptions>();
    Command command = line.command("migrate-broker", "Take running services to another broker");
    command.example("migrate-broker iam.toml data_owner.toml --to embedded:new.db");
    command.example("migrate-broker iam.toml data_owner.toml --to 'redis://:${PASSWORD}@host'");
    command.arguments("FILE...", options->files, "Files of all services that use the old broker");
    command.option("--to", options->to, "The new broker");
    command.option("--timeout", options->timeout, "Longest wait for the old broker to be empty");
    command.runs([options, &context] { return migrate(context, *options); });
}

}  // namespace instep::cli
