#include "command.hpp"
#include "output.hpp"
#include "services.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::cli {

namespace {

struct CheckOptions {
    std::vector<std::string> files;
};

struct ServiceFinding {
    std::string service;
    Finding finding;
};

std::string_view to_string(Finding::Severity severity) {
    switch (severity) {
        case Finding::Severity::kNote:
            return "note";
        case Finding::Severity::kWarning:
            return "warning";
        case Finding::Severity::kProblem:
            return "problem";
    }
    return "unknown";
}

Style style_of(Finding::Severity severity) {
    switch (severity) {
        case Finding::Severity::kNote:
            return Style::kFaint;
        case Finding::Severity::kWarning:
            return Style::kWarning;
        case Finding::Severity::kProblem:
            return Style::kBad;
    }
    return Style::kPlain;
}

bool is_problem(const ServiceFinding& each) {
    return each.finding.severity == Finding::Severity::kProblem;
}

void show(Output& output, const std::vector<ServiceFinding>& findings, std::size_t services) {
    for (const auto& [service, finding] : findings) {
        output.line(
            fmt::format("{}: {}, {}: {}",
                        output.styled(style_of(finding.severity), to_string(finding.severity)),
                        service, printable(finding.subject), printable(finding.message)));
        if (!finding.fix.empty()) {
            output.line(fmt::format("    fix: {}", printable(finding.fix)));
        }
    }
    const auto problems = static_cast<std::uint64_t>(std::ranges::count_if(findings, is_problem));
    output.line(fmt::format("{} in {}.",
                            problems == 0 ? "No problems" : counted(problems, "problem"),
                            counted(services, "service")));
}

void show_json(Output& output, const std::vector<ServiceFinding>& findings) {
    std::vector<JsonObject> objects;
    objects.reserve(findings.size());
    for (const auto& [service, finding] : findings) {
        objects.push_back(JsonObject()
                              .text("service", service)
                              .text("severity", to_string(finding.severity))
                              .text("subject", finding.subject)
                              .text("message", finding.message)
                              .text("fix", finding.fix));
    }
    output.object(JsonObject("instep.check/1")
                      .flag("sound", std::ranges::none_of(findings, is_problem))
                      .objects("findings", objects));
}

Result<ExitCode> check(Context& context, const CheckOptions& options) {
    INSTEP_TRY_ASSIGN(const auto configs, load_services(options.files));
    std::vector<ServiceFinding> all;
    for (const ServiceConfig& config : configs) {
        auto findings = check_service(config, context.clock);
        if (!findings) {
            return fail_in(config.name, std::move(findings).error());
        }
        for (Finding& finding : *findings) {
            all.push_back({config.name, std::move(finding)});
        }
    }
    if (context.output.json()) {
        show_json(context.output, all);
    } else {
        show(context.output, all, configs.size());
    }
    return std::ranges::any_of(all, is_problem) ? ExitCode::kProblemFound : ExitCode::kOk;
}

}  // namespace

void add_check(CommandLine& line, Context& context) {
    const auto options = std::make_shared<CheckOptions>();
    Command command = line.command("check", "Find what would keep services from working");
    command.example("check iam.toml data_owner.toml");
    command.arguments("FILE...", options->files, "Service files");
    command.runs([options, &context] { return check(context, *options); });
}

}  // namespace instep::cli
