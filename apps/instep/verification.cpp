#include "verification.hpp"

#include <fmt/format.h>

namespace instep::cli {

namespace {

struct Verification {
    /// Empty until the replica is live and could be asked about.
    std::string id;
    VerificationStatus status;
};

Result<void> request(const ReplicaTarget& target, VerificationPurpose purpose, Random& random,
                     Verification& verification) {
    INSTEP_TRY_ASSIGN(const ReplicaStatus replica, replica_status(target));
    if (replica.state == ReplicaState::kRefused) {
        return fail(ErrorCode::kRejected, "the owner refused to fill it: " + replica.problem);
    }
    if (replica.state != ReplicaState::kLive) {
        return {};
    }
    INSTEP_TRY_ASSIGN(auto transaction,
                      Transaction::begin(*target.connection, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(const std::string id,
                      request_verification(transaction, target.definition, purpose, random));
    INSTEP_TRY(transaction.commit());
    verification.id = id;
    return {};
}

Result<bool> is_finished(const ReplicaTarget& target, VerificationPurpose purpose, Random& random,
                         Verification& verification) {
    if (verification.id.empty()) {
        INSTEP_TRY(request(target, purpose, random, verification));
        return false;
    }
    INSTEP_TRY_ASSIGN(verification.status, read_verification(*target.connection, verification.id));
    if (!verification.status.problem.empty()) {
        return fail(ErrorCode::kRejected, "the owner refused: " + verification.status.problem);
    }
    return verification.status.finished;
}

std::string progress(const Verification& verification) {
    if (verification.id.empty()) {
        return "not filled yet";
    }
    return fmt::format("{} in {} checked", counted(verification.status.rows_checked, "row"),
                       counted(verification.status.ranges_checked, "range"));
}

}  // namespace

void declare_verification(Command& command, VerificationOptions& options) {
    command.arguments("FILE...", options.files,
                      "Service files: the replicas', and those of owners that run nowhere else");
    command.option("--table", options.table, "Only the replicas with this table");
    command.option("--timeout", options.timeout, "Longest wait");
}

Result<std::vector<VerificationOutcome>> run_verification(Context& context,
                                                          const VerificationOptions& options,
                                                          VerificationPurpose purpose) {
    INSTEP_TRY_ASSIGN(auto session, ReplicaSession::open(context, options.files, options.table));
    const auto targets = session->targets();
    std::vector<Verification> verifications(targets.size());
    INSTEP_TRY(session->wait_for_all(
        {.done =
             [&](std::size_t i) {
                 return is_finished(targets[i], purpose, context.random, verifications[i]);
             },
         .progress = [&](std::size_t i) { return progress(verifications[i]); }},
        options.timeout));

    std::vector<VerificationOutcome> outcomes;
    for (std::size_t i = 0; i < targets.size(); ++i) {
        INSTEP_TRY_ASSIGN(
            auto differences,
            list_differences(*targets[i].connection, verifications[i].id, kDifferencesShown));
        outcomes.push_back(
            {targets[i].definition, verifications[i].status, std::move(differences)});
    }
    return outcomes;
}

JsonObject to_json(const VerificationOutcome& outcome) {
    std::vector<JsonObject> keys;
    keys.reserve(outcome.differences.size());
    for (const Difference& difference : outcome.differences) {
        keys.push_back(JsonObject()
                           .text("key", difference.key)
                           .text("kind", difference.kind)
                           .flag("repaired", difference.repaired));
    }
    return JsonObject()
        .text("service", outcome.definition.service)
        .text("table", outcome.definition.table)
        .text("topic", outcome.definition.topic)
        .text("id", outcome.status.id)
        .text("as_of", outcome.status.as_of)
        .number("rows_checked", outcome.status.rows_checked)
        .number("ranges_checked", outcome.status.ranges_checked)
        .number("differences", outcome.status.differences)
        .number("repaired", outcome.status.repaired)
        .objects("keys", keys);
}

void show_differences(Output& output, std::span<const VerificationOutcome> outcomes) {
    Table table({{"REPLICA"}, {"KEY"}, {"KIND"}, {"REPAIRED"}});
    for (const VerificationOutcome& outcome : outcomes) {
        for (const Difference& difference : outcome.differences) {
            table.add_row({outcome.definition.address(), printable(difference.key), difference.kind,
                           difference.repaired ? "yes" : "no"});
        }
    }
    if (!table.empty()) {
        output.table(table);
    }
    for (const VerificationOutcome& outcome : outcomes) {
        if (outcome.status.differences > outcome.differences.size()) {
            output.message(
                fmt::format("{} has {} more.", outcome.definition.address(),
                            grouped(outcome.status.differences - outcome.differences.size())));
        }
    }
}

}  // namespace instep::cli
