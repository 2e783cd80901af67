#include "command.hpp"
#include "instep/consumer/halt.hpp"
#include "operator.hpp"
#include "output.hpp"
#include "subscription_session.hpp"

#include <fmt/format.h>

namespace instep::cli {

namespace {

struct PauseOptions {
    std::string file;
    std::string subscription;
    std::string who;
    std::string reason;
};

Result<ExitCode> pause(Context& context, const PauseOptions& options) {
    INSTEP_TRY_ASSIGN(const auto session,
                      SubscriptionSession::open(context, options.file, options.subscription));
    INSTEP_TRY_ASSIGN(auto transaction,
                      Transaction::begin(*session.service.connection, TransactionMode::kWrite));
    INSTEP_TRY(pause_subscription(transaction, session.subscription,
                                  operator_named(options.who, options.reason)));
    INSTEP_TRY(transaction.commit());
    if (context.output.json()) {
        context.output.object(
            JsonObject("instep.pause/1").text("subscription", session.subscription));
    } else {
        context.output.line(fmt::format("{} is paused; it takes events again after `instep resume`",
                                        session.subscription));
    }
    return ExitCode::kOk;
}

}  // namespace

void add_pause(CommandLine& line, Context& context) {
    const auto options = std::make_shared<PauseOptions>();
    Command command = line.command("pause", "Let a subscription or replica take no events for now");
    command.example("pause mail.toml welcome --reason \"the mail server moves\"");
    command.argument("FILE", options->file, "The service file of the consumer");
    command.argument("SUBSCRIPTION", options->subscription,
                     "Its name in the file; a replica's is its table");
    command.option("--who", options->who, "Shown in status; else the environment's USER");
    command.option("--reason", options->reason, "Shown in status");
    command.runs([options, &context] { return pause(context, *options); });
}

}  // namespace instep::cli
