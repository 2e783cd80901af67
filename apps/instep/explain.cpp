#include "command.hpp"
#include "instep/capture/contract.hpp"
#include "instep/replica/replica.hpp"
#include "output.hpp"
#include "services.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::cli {

namespace {

struct ExplainOptions {
    std::string file;
    std::string table;
    std::string key;
};

Result<ReplicaDefinition> find_replica(const ServiceConfig& config, const std::string& table) {
    const auto found = std::ranges::find(config.replicas, table, &ReplicaDefinition::table);
    if (found != config.replicas.end()) {
        return *found;
    }
    std::vector<std::string> tables;
    std::ranges::transform(config.replicas, std::back_inserter(tables), &ReplicaDefinition::table);
    const std::string nearest = nearest_name(table, tables);
    return fail(ErrorCode::kNotFound,
                fmt::format("{} has no [[replica]] with table \"{}\"{}", config.path, table,
                            nearest.empty() ? "" : fmt::format("; did you mean \"{}\"?", nearest)));
}

bool is_unknown(const RowExplanation& row) {
    return row.row.empty() && !row.deleted_at && row.parked_events == 0;
}

std::string_view verdict(const RowExplanation& row) {
    const bool waits = row.parked_events > 0;
    if (!row.row.empty()) {
        return waits ? "The row stands as of its version; newer events wait behind a failure."
                     : "The row stands as its owner had it at its version.";
    }
    if (row.deleted_at) {
        return waits ? "The owner deleted it; newer events wait behind a failure."
                     : "The owner deleted it; nothing older can bring it back.";
    }
    return waits ? "Its first event waits behind a failure."
                 : "No event of this key has arrived: the owner has no such row, or the replica is "
                   "behind (see `instep status`).";
}

std::string place(const Version& version) {
    return fmt::format("epoch {}, place {} of the owner's log{}", version.epoch,
                       grouped(version.batch),
                       version.index == kChunkIndex ? ", brought by a backfill" : "");
}

void show(Output& output, const ExplainOptions& options, const RowExplanation& row) {
    output.line(fmt::format("{} {}: {}", options.table, printable(options.key), verdict(row)));
    Table table({{"COLUMN"}, {"VALUE"}});
    for (const auto& [column, value] : row.row) {
        table.add_row({column, printable(value)});
    }
    if (!table.empty()) {
        output.table(table);
    }
    if (row.version) {
        output.line("version     " + place(*row.version));
    }
    if (row.deleted_at) {
        output.line("deleted at  " + place(*row.deleted_at));
    }
    if (row.parked_events > 0) {
        output.line(fmt::format("parked      {}: {}", counted(row.parked_events, "event"),
                                printable(row.parked_because)));
    }
}

void add_version(JsonObject& object, std::string_view name, const std::optional<Version>& version) {
    if (version) {
        object.text(name, to_sequence(*version));
    } else {
        object.null(name);
    }
}

void show_json(Output& output, const ReplicaDefinition& definition, const ExplainOptions& options,
               const RowExplanation& row) {
    JsonObject object("instep.explain/1");
    object.text("service", definition.service)
        .text("table", definition.table)
        .text("topic", definition.topic)
        .text("key", options.key)
        .text("summary", verdict(row));
    if (row.row.empty()) {
        object.null("row");
    } else {
        JsonObject values;
        for (const auto& [column, value] : row.row) {
            values.text(column, value);
        }
        object.object("row", values);
    }
    add_version(object, "version", row.version);
    add_version(object, "deleted_at", row.deleted_at);
    output.object(object.number("parked_events", row.parked_events)
                      .text("parked_because", row.parked_because));
}

Result<ExitCode> explain(Context& context, const ExplainOptions& options) {
    INSTEP_TRY_ASSIGN(const auto configs, load_services(std::span(&options.file, 1)));
    INSTEP_TRY_ASSIGN(const auto definition, find_replica(configs[0], options.table));
    INSTEP_TRY_ASSIGN(const auto opened, ServiceDatabase::open(configs[0], context.clock));
    const auto& connection = opened.connection;
    INSTEP_TRY_ASSIGN(const auto row, explain_row(*connection, definition, options.key));
    if (context.output.json()) {
        show_json(context.output, definition, options, row);
    } else {
        show(context.output, options, row);
    }
    return is_unknown(row) ? ExitCode::kNotFound : ExitCode::kOk;
}

}  // namespace

void add_explain(CommandLine& line, Context& context) {
    const auto options = std::make_shared<ExplainOptions>();
    Command command = line.command("explain", "Why a row of a replica is as it is");
    command.example("explain data_owner.toml lookup_users 42");
    command.example("explain shop.toml lookup_lines '[1,\"a\"]'  # a key of two columns");
    command.argument("FILE", options->file, "The service file of the replica");
    command.argument("TABLE", options->table, "The replica's table");
    command.argument("KEY", options->key, "The key, as events have it");
    command.runs([options, &context] { return explain(context, *options); });
}

}  // namespace instep::cli
