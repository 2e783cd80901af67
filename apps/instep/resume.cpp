#include "command.hpp"
#include "instep/consumer/halt.hpp"
#include "output.hpp"
#include "subscription_session.hpp"

#include <fmt/format.h>

namespace instep::cli {

namespace {

struct ResumeOptions {
    std::string file;
    std::string subscription;
};

Result<ExitCode> resume(Context& context, const ResumeOptions& options) {
    INSTEP_TRY_ASSIGN(const auto session,
                      SubscriptionSession::open(context, options.file, options.subscription));
    INSTEP_TRY_ASSIGN(auto transaction,
                      Transaction::begin(*session.service.connection, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(const bool was_paused,
                      resume_subscription(transaction, session.subscription));
    INSTEP_TRY(transaction.commit());
    if (context.output.json()) {
        context.output.object(JsonObject("instep.resume/1")
                                  .text("subscription", session.subscription)
                                  .flag("was_paused", was_paused));
    } else {
        context.output.line(fmt::format("{} {}", session.subscription,
                                        was_paused ? "takes events again" : "was not paused"));
    }
    return ExitCode::kOk;
}

}  // namespace

void add_resume(CommandLine& line, Context& context) {
    const auto options = std::make_shared<ResumeOptions>();
    Command command = line.command("resume", "Let a paused subscription or replica go on");
    command.example("resume mail.toml welcome");
    command.argument("FILE", options->file, "The service file of the consumer");
    command.argument("SUBSCRIPTION", options->subscription,
                     "Its name in the file; a replica's is its table");
    command.runs([options, &context] { return resume(context, *options); });
}

}  // namespace instep::cli
