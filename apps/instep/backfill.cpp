#include "command.hpp"
#include "instep/db/connection.hpp"
#include "instep/replica/replica.hpp"
#include "output.hpp"
#include "replica_session.hpp"

#include <fmt/format.h>

namespace instep::cli {

namespace {

struct BackfillOptions {
    std::vector<std::string> files_and_table;
    std::optional<std::chrono::milliseconds> timeout;
};

struct Backfill {
    std::string id;
    ReplicaStatus status;
};

Result<std::string> request(const ReplicaTarget& target, Random& random) {
    INSTEP_TRY_ASSIGN(auto transaction,
                      Transaction::begin(*target.connection, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(std::string id, request_backfill(transaction, target.definition, random));
    INSTEP_TRY(transaction.commit());
    return id;
}

/// Also a backfill that somebody asked for after ours brings all rows.
Result<bool> is_filled(const ReplicaTarget& target, Backfill& backfill) {
    INSTEP_TRY_ASSIGN(backfill.status, replica_status(target));
    if (backfill.status.state == ReplicaState::kRefused) {
        return fail(ErrorCode::kRejected, "the owner refused: " + backfill.status.problem);
    }
    return backfill.status.state == ReplicaState::kLive;
}

void show(Output& output, std::span<const ReplicaTarget> targets,
          std::span<const Backfill> backfills) {
    std::vector<JsonObject> objects;
    for (std::size_t i = 0; i < targets.size(); ++i) {
        const std::uint64_t rows = backfills[i].status.filled_rows;
        objects.push_back(JsonObject()
                              .text("service", targets[i].definition.service)
                              .text("table", targets[i].definition.table)
                              .text("topic", targets[i].definition.topic)
                              .text("id", backfills[i].id)
                              .number("rows", rows));
        if (!output.json()) {
            output.line(fmt::format("{} is filled: {}", targets[i].name(), counted(rows, "row")));
        }
    }
    if (output.json()) {
        output.object(JsonObject("instep.backfill/1").objects("replicas", objects));
    }
}

Result<ExitCode> backfill(Context& context, BackfillOptions options) {
    if (options.files_and_table.size() < 2) {
        return fail(ErrorCode::kInvalidArgument,
                    "the replica's table is missing: instep backfill FILE... TABLE");
    }
    const std::string table = std::move(options.files_and_table.back());
    options.files_and_table.pop_back();
    INSTEP_TRY_ASSIGN(auto session, ReplicaSession::open(context, options.files_and_table, table));
    std::vector<Backfill> backfills(session->targets().size());
    for (std::size_t i = 0; i < backfills.size(); ++i) {
        INSTEP_TRY_ASSIGN(backfills[i].id, request(session->targets()[i], context.random));
    }
    INSTEP_TRY(session->wait_for_all(
        {.done = [&](std::size_t i) { return is_filled(session->targets()[i], backfills[i]); },
         .progress =
             [&](std::size_t i) {
                 return counted(backfills[i].status.filled_rows, "row") + " filled";
             }},
        options.timeout));
    show(context.output, session->targets(), backfills);
    return ExitCode::kOk;
}

}  // namespace

void add_backfill(CommandLine& line, Context& context) {
    const auto options = std::make_shared<BackfillOptions>();
    Command command = line.command("backfill", "Ask the owner for all rows of a replica again");
    command.example("backfill iam.toml data_owner.toml lookup_users");
    command.example("backfill data_owner.toml lookup_users --timeout 10m  # iam runs elsewhere");
    command.arguments("FILE... TABLE", options->files_and_table,
                      "Service files, as for verify; then the replica's table");
    command.option("--timeout", options->timeout, "Longest wait; without it, until it is done");
    command.runs([options, &context] { return backfill(context, *options); });
}

}  // namespace instep::cli
