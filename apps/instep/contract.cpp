#include "command.hpp"
#include "instep/capture/capture.hpp"
#include "instep/capture/contract_schema.hpp"
#include "instep/db/database.hpp"
#include "output.hpp"
#include "services.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>

namespace instep::cli {

namespace {

struct ContractOptions {
    std::string file;
    std::string older;
    std::string newer;
    bool ignore_past = false;
};

/// The version that `instep apply` gives the contract.
std::uint32_t version_of(const Contract& bound, std::span<const Contract> in_force) {
    const auto standing = std::ranges::find(in_force, bound.entity, &Contract::entity);
    if (standing == in_force.end()) {
        return 1;
    }
    Contract same = bound;
    same.version = standing->version;
    return same == *standing ? standing->version : standing->version + 1;
}

Result<ExitCode> export_contract(Context& context, const ContractOptions& options) {
    INSTEP_TRY_ASSIGN(const auto configs, load_services(std::span(&options.file, 1)));
    const ServiceConfig& config = configs[0];
    INSTEP_TRY_ASSIGN(const auto database, open_database(config.database, context.clock));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    auto in_force = contracts_in_force(*connection);
    if (!in_force && in_force.error().code == ErrorCode::kNotFound) {
        // Before the first apply.
        in_force.emplace();
    }
    INSTEP_TRY(in_force);
    std::vector<PublishedEvent> events;
    for (const PublishEntry& entry : config.publish) {
        INSTEP_TRY_ASSIGN(Contract contract, bind_contract(*connection, config.name, entry));
        contract.version = version_of(contract, *in_force);
        std::ranges::move(published_events(contract), std::back_inserter(events));
    }
    const std::string document = to_json_schema(config.name, events);
    if (context.output.json()) {
        context.output.object(JsonObject("instep.contract/1")
                                  .text("service", config.name)
                                  .text("document", document));
    } else {
        context.output.text(document);
    }
    return ExitCode::kOk;
}

Result<std::string> read_document(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text(kContractDocumentBytesMax + 1, '\0');
    if (!file.read(text.data(), static_cast<std::streamsize>(text.size())) && !file.eof()) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("{} cannot be read; make it with `instep contract export`", path));
    }
    text.resize(static_cast<std::size_t>(file.gcount()));
    return text;
}

void show(Output& output, std::span<const ContractDifference> differences) {
    Table table({{"BREAKS"}, {"EVENTS"}, {"FIELD"}, {"CHANGE"}, {"BECAUSE"}});
    for (const ContractDifference& difference : differences) {
        table.add_row(
            {difference.breaks == Breaks::kNobody ? "-" : std::string(to_string(difference.breaks)),
             printable(fmt::format("{}", fmt::join(difference.types, ", "))),
             difference.field.empty() ? "-" : printable(difference.field),
             printable(difference.change), difference.reason});
    }
    if (!table.empty()) {
        output.table(table);
        output.line("");
    }
}

void show_json(Output& output, std::span<const ContractDifference> differences, bool breaks) {
    std::vector<JsonObject> objects;
    for (const ContractDifference& difference : differences) {
        objects.push_back(JsonObject()
                              .text("breaks", to_string(difference.breaks))
                              .texts("events", difference.types)
                              .text("field", difference.field)
                              .text("change", difference.change)
                              .text("reason", difference.reason));
    }
    output.object(JsonObject("instep.contract.diff/1")
                      .flag("compatible", !breaks)
                      .objects("differences", objects));
}

Result<ExitCode> compare(Context& context, const ContractOptions& options) {
    INSTEP_TRY_ASSIGN(const std::string older, read_document(options.older));
    INSTEP_TRY_ASSIGN(const std::string newer, read_document(options.newer));
    INSTEP_TRY_ASSIGN(const auto differences, compare_contracts(older, newer));
    const auto breaking = std::ranges::count_if(differences, [&](const auto& difference) {
        return difference.breaks == Breaks::kReaders ||
               (difference.breaks == Breaks::kPast && !options.ignore_past);
    });
    if (context.output.json()) {
        show_json(context.output, differences, breaking > 0);
    } else {
        show(context.output, differences);
        context.output.line(
            breaking > 0
                ? fmt::format("breaking: {}",
                              counted(static_cast<std::uint64_t>(breaking), "difference"))
                : fmt::format("compatible: {}", counted(differences.size(), "difference")));
    }
    return breaking > 0 ? ExitCode::kProblemFound : ExitCode::kOk;
}

}  // namespace

void add_contract(CommandLine& line, Context& context) {
    const auto options = std::make_shared<ContractOptions>();
    Command command =
        line.command("contract", "Write down what a service publishes, and what a change breaks");
    command.example("contract export iam.toml > iam.contract.json");
    command.example("contract diff iam.contract.json new.contract.json");

    Command written = command.subcommand("export", "Print the JSON Schema of a service's events");
    written.argument("FILE", options->file, "The service file of the owner");
    written.runs([options, &context] { return export_contract(context, *options); });

    Command compared =
        command.subcommand("diff", "Compare two such documents; exit with 8 if it breaks somebody");
    compared.argument("OLD", options->older, "What was published until now");
    compared.argument("NEW", options->newer, "What will be");
    compared.flag("--ignore-past", options->ignore_past,
                  "Events from before need not fit: there is no replay, and nothing waits");
    compared.runs([options, &context] { return compare(context, *options); });
}

}  // namespace instep::cli
