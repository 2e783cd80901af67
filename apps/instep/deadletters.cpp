#include "command.hpp"
#include "instep/consumer/dead_letters.hpp"
#include "operator.hpp"
#include "output.hpp"
#include "parked_json.hpp"
#include "services.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::cli {

namespace {

constexpr std::uint32_t kShownMax = 1000;

struct DeadLettersOptions {
    std::string file;
    std::string subscription;
    std::string key;
    std::string error;
    std::string data;
    std::string who;
    std::string reason;
    std::optional<std::uint64_t> number;
    bool all = false;
    bool all_events = false;
    bool retried_too = false;
    bool dry_run = false;
};

class DeadLetters {
public:
    static Result<DeadLetters> open(Context& context, const DeadLettersOptions& options) {
        INSTEP_TRY_ASSIGN(const auto configs, load_services(std::span(&options.file, 1)));
        INSTEP_TRY_ASSIGN(auto opened, ServiceDatabase::open(configs[0], context.clock));
        return DeadLetters(context, options, std::move(opened));
    }

    Result<ExitCode> list() {
        INSTEP_TRY_ASSIGN(const auto keys,
                          list_dead_letters(*service_.connection, filter(), kShownMax));
        show_keys(keys);
        return ExitCode::kOk;
    }

    Result<ExitCode> show() {
        INSTEP_TRY_ASSIGN(const auto keys,
                          list_dead_letters(*service_.connection, any_state(), kShownMax));
        // A key that is parked may have skipped events besides.
        const bool is_one = !keys.empty() && std::ranges::all_of(keys, [&](const ParkedKey& key) {
            return key.subscription == keys[0].subscription && key.key == keys[0].key;
        });
        if (!is_one) {
            return fail(keys.empty() ? ErrorCode::kNotFound : ErrorCode::kInvalidArgument,
                        keys.empty() ? "no parked key fits; see `instep deadletters list`"
                                     : "more than one key fits; give --subscription and --key");
        }
        INSTEP_TRY_ASSIGN(const auto events,
                          list_waiting_events(*service_.connection, keys[0].subscription,
                                              keys[0].key, kShownMax));
        show_events(keys[0], events);
        return ExitCode::kOk;
    }

    Result<ExitCode> retry() {
        INSTEP_TRY(refuse_everything());
        return act("would be tried again", "is tried again", [&](Transaction& transaction) {
            return retry_dead_letters(transaction, filter(), by());
        });
    }

    Result<ExitCode> discard() {
        INSTEP_TRY(refuse_everything());
        const auto scope =
            options_.all_events ? DiscardScope::kAllEvents : DiscardScope::kOldestEvent;
        return act("would be discarded from", "discarded", [&](Transaction& transaction) {
            return discard_dead_letters(transaction, filter(), scope, by());
        });
    }

    Result<ExitCode> edit() {
        INSTEP_TRY_ASSIGN(auto transaction,
                          Transaction::begin(*service_.connection, TransactionMode::kWrite));
        INSTEP_TRY(edit_dead_letter(transaction,
                                    static_cast<std::int64_t>(options_.number.value_or(0)),
                                    options_.data, by()));
        INSTEP_TRY(transaction.commit());
        context_.output.message(
            fmt::format("event {} is edited and tried again", options_.number.value_or(0)));
        return ExitCode::kOk;
    }

    Result<ExitCode> record() {
        INSTEP_TRY_ASSIGN(const auto actions,
                          list_dead_letter_actions(*service_.connection, kShownMax));
        std::vector<JsonObject> objects;
        for (const DeadLetterAction& action : actions) {
            objects.push_back(JsonObject()
                                  .text("acted", format_time(action.acted))
                                  .text("who", action.who)
                                  .text("action", action.action)
                                  .text("reason", action.reason)
                                  .text("subscription", action.subscription)
                                  .text("key", action.key)
                                  .text("envelope", action.envelope));
            if (!context_.output.json()) {
                context_.output.line(fmt::format(
                    "{}  {}  {} of {} in {}{}{}", format_time(action.acted), printable(action.who),
                    action.action, printable(action.key), action.subscription,
                    action.reason.empty() ? "" : ": ", printable(action.reason)));
            }
        }
        if (context_.output.json()) {
            context_.output.object(
                JsonObject("instep.deadletters.record/1").objects("actions", objects));
        }
        return ExitCode::kOk;
    }

private:
    DeadLetters(Context& context, const DeadLettersOptions& options, ServiceDatabase service)
        : context_(context), options_(options), service_(std::move(service)) {}

    [[nodiscard]] DeadLetterFilter filter() const {
        return {options_.subscription, options_.key, options_.error, options_.retried_too};
    }

    [[nodiscard]] DeadLetterFilter any_state() const {
        return {options_.subscription, options_.key, options_.error, true};
    }

    [[nodiscard]] Operator by() const { return operator_named(options_.who, options_.reason); }

    /// A slip of the finger must not reach every key.
    [[nodiscard]] Result<void> refuse_everything() const {
        if (!options_.all && options_.subscription.empty() && options_.key.empty() &&
            options_.error.empty()) {
            return fail(ErrorCode::kInvalidArgument,
                        "say which: --subscription, --key, --error, or --all for every dead "
                        "letter; --dry-run shows them");
        }
        return {};
    }

    template <class Act>
    Result<ExitCode> act(std::string_view would, std::string_view done, const Act& act) {
        if (options_.dry_run) {
            INSTEP_TRY_ASSIGN(const auto keys,
                              list_dead_letters(*service_.connection, filter(), kShownMax));
            context_.output.message(fmt::format("{} {}:", counted(keys.size(), "key"), would));
            show_keys(keys);
            return ExitCode::kOk;
        }
        INSTEP_TRY_ASSIGN(auto transaction,
                          Transaction::begin(*service_.connection, TransactionMode::kWrite));
        INSTEP_TRY_ASSIGN(const std::uint64_t count, act(transaction));
        INSTEP_TRY(transaction.commit());
        if (context_.output.json()) {
            context_.output.object(JsonObject("instep.deadletters.acted/1").number("count", count));
        } else {
            context_.output.line(fmt::format("{} {}", count, done));
        }
        return count == 0 ? ExitCode::kNotFound : ExitCode::kOk;
    }

    void show_keys(std::span<const ParkedKey> keys) {
        if (context_.output.json()) {
            std::vector<JsonObject> objects;
            for (const ParkedKey& key : keys) {
                objects.push_back(to_json(key));
            }
            context_.output.object(JsonObject("instep.deadletters/1").objects("keys", objects));
            return;
        }
        Table table({{"KEY"},
                     {"SUBSCRIPTION"},
                     {"STATE"},
                     {"EVENTS", Table::Align::kRight},
                     {"ATTEMPTS", Table::Align::kRight},
                     {"FAILED LAST"},
                     {"ERROR"}});
        for (const ParkedKey& key : keys) {
            table.add_row({printable(key.key), key.subscription, state_of(key),
                           std::to_string(key.events), std::to_string(key.attempts),
                           format_time(key.failed), printable(key.error_message)});
        }
        if (table.empty()) {
            context_.output.line("no dead letters");
        } else {
            context_.output.table(table);
        }
    }

    void show_events(const ParkedKey& key, std::span<const WaitingEvent> events) {
        std::vector<JsonObject> objects;
        for (const WaitingEvent& event : events) {
            objects.push_back(JsonObject()
                                  .number("number", static_cast<std::uint64_t>(event.number))
                                  .number("partition", event.partition)
                                  .number("position", event.position)
                                  .text("parked", format_time(event.parked))
                                  .flag("discarded", event.is_discarded)
                                  .flag("skipped", event.is_skipped)
                                  .text("envelope", event.envelope)
                                  .text("raw", event.raw));
        }
        if (context_.output.json()) {
            context_.output.object(JsonObject("instep.deadletters.key/1")
                                       .object("key", to_json(key))
                                       .objects("events", objects));
            return;
        }
        context_.output.line(fmt::format("{} of {}: {}", printable(key.key), key.subscription,
                                         printable(key.error_message)));
        for (const WaitingEvent& event : events) {
            context_.output.line(
                fmt::format("  {}  {}{}", event.number,
                            event.is_discarded ? "(discarded) "
                            : event.is_skipped ? "(skipped) "
                                               : "",
                            printable(event.envelope.empty() ? event.raw : event.envelope)));
        }
    }

    Context& context_;
    const DeadLettersOptions& options_;
    ServiceDatabase service_;
};

void add_filter(Command& command, DeadLettersOptions& options) {
    command.argument("FILE", options.file, "The service file of the consumer");
    command.option("--subscription", options.subscription, "Only of this one");
    command.option("--key", options.key, "Only this key");
    command.option("--error", options.error, "Only with this in the error's text");
}

void add_action(Command& command, DeadLettersOptions& options) {
    command.flag("--all", options.all, "Every dead letter of the service");
    command.flag("--dry-run", options.dry_run, "Only show which keys are meant");
    command.option("--who", options.who, "Kept in the record; else the environment's USER");
    command.option("--reason", options.reason, "Kept in the record");
}

}  // namespace

void add_deadletters(CommandLine& line, Context& context) {
    const auto options = std::make_shared<DeadLettersOptions>();
    const auto runs = [options, &context](Result<ExitCode> (DeadLetters::*verb)()) {
        return [options, &context, verb]() -> Result<ExitCode> {
            INSTEP_TRY_ASSIGN(DeadLetters letters, DeadLetters::open(context, *options));
            return (letters.*verb)();
        };
    };
    Command command =
        line.command("deadletters", "Look at keys that ran out of attempts, and decide on them");
    command.example("deadletters list shop.toml");
    command.example("deadletters retry shop.toml --error \"mail server\" --reason \"it is back\"");

    Command list = command.subcommand("list", "Keys that wait for a person");
    add_filter(list, *options);
    list.flag("--retried-too", options->retried_too, "Also those that are still tried again");
    list.runs(runs(&DeadLetters::list));

    Command show = command.subcommand("show", "One key, with the events that wait");
    add_filter(show, *options);
    show.runs(runs(&DeadLetters::show));

    Command retry = command.subcommand("retry", "Try them again from now on, in each key's order");
    add_filter(retry, *options);
    add_action(retry, *options);
    retry.runs(runs(&DeadLetters::retry));

    Command discard = command.subcommand("discard",
                                         "Give up the event that fails; it is kept in "
                                         "the record");
    add_filter(discard, *options);
    discard.flag("--all-events", options->all_events, "Also what waits behind it");
    add_action(discard, *options);
    discard.runs(runs(&DeadLetters::discard));

    Command edit = command.subcommand("edit", "Replace the payload of one event, and try it");
    edit.argument("FILE", options->file, "The service file of the consumer");
    edit.option("--number", options->number, "The event's number, from show");
    edit.option("--data", options->data, "The new payload");
    edit.option("--who", options->who, "Kept in the record; else the environment's USER");
    edit.option("--reason", options->reason, "Kept in the record");
    edit.runs(runs(&DeadLetters::edit));

    Command record = command.subcommand("record", "What was done with dead letters, newest first");
    record.argument("FILE", options->file, "The service file of the consumer");
    record.runs(runs(&DeadLetters::record));
}

}  // namespace instep::cli
