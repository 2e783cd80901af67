#include "instep/consumer/replay.hpp"

#include "command.hpp"
#include "instep/capture/contract.hpp"
#include "output.hpp"
#include "services.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <unistd.h>

namespace instep::cli {

namespace {

struct ReplayOptions {
    std::string file;
    std::string subscription;
    std::string from;
    std::optional<std::uint64_t> partition;
    std::string key;
    std::string who;
    std::string reason;
    bool dry_run = false;
};

/// One partition, and what of it is handled again.
struct Stretch {
    std::uint32_t partition = 0;
    Position from = 0;
    Position until = 0;
    KeptEvents kept;
};

Result<SubscriptionEntry> find_subscription(const ServiceConfig& config, const std::string& name) {
    const auto found = std::ranges::find(config.subscriptions, name, &SubscriptionEntry::name);
    if (found != config.subscriptions.end()) {
        return *found;
    }
    if (std::ranges::find(config.replicas, name, &ReplicaDefinition::table) !=
        config.replicas.end()) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{} is a replica, which needs no past events: `instep backfill {} "
                                "{}` fills it with its owner's rows",
                                name, config.path, name));
    }
    std::vector<std::string> names;
    std::ranges::transform(config.subscriptions, std::back_inserter(names),
                           &SubscriptionEntry::name);
    const std::string nearest = nearest_name(name, names);
    return fail(ErrorCode::kNotFound,
                fmt::format("{} has no [[subscription]] named \"{}\"{}", config.path, name,
                            nearest.empty() ? "" : fmt::format("; did you mean \"{}\"?", nearest)));
}

Result<ReplayStart> parse_start(const std::string& text) {
    if (text == "beginning") {
        return ReplayStart::beginning();
    }
    Position position = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, position);
    if (!text.empty() && stop == end && error == std::errc{} &&
        position <= static_cast<Position>(std::numeric_limits<std::int64_t>::max())) {
        return ReplayStart::behind(position);
    }
    if (const auto time = parse_time(text)) {
        return ReplayStart::since(*time);
    }
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--from takes beginning, a position, or a time such as "
                            "2026-11-27T08:00:00Z, not \"{}\"",
                            text));
}

Result<std::vector<Stretch>> find_stretches(Broker& broker, const std::string& subscription,
                                            const std::string& topic, const ReplayStart& start,
                                            std::optional<std::uint64_t> partition) {
    auto all = broker.kept(topic);
    if (!all) {
        return fail_in(fmt::format("a replay of {} from {}", subscription, broker.display_url()),
                       std::move(all).error());
    }
    INSTEP_TRY_ASSIGN(const auto lags, broker.lag(topic));
    std::vector<Stretch> stretches;
    for (const KeptEvents& kept : *all) {
        if (partition && *partition != kept.partition) {
            continue;
        }
        INSTEP_TRY_ASSIGN(const Position from, start.find_in(kept, topic));
        const auto stands = std::ranges::find_if(lags, [&](const SubscriptionLag& lag) {
            return lag.subscription == subscription && lag.partition == kept.partition;
        });
        Position until = from;
        if (stands != lags.end()) {
            // Where positions end with their assignment, they are none of the past.
            until = broker.features().stable_positions ? stands->acknowledged : kept.newest;
        }
        stretches.push_back({kept.partition, from, std::max(from, until), kept});
    }
    if (stretches.empty()) {
        return fail(ErrorCode::kNotFound,
                    partition ? fmt::format("topic {} has no partition {}", topic, *partition)
                              : fmt::format("there is no topic {} yet", topic));
    }
    if (start.kind() == "position" && stretches.size() > 1) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("topic {} has {} partitions, and a position stands in one; give "
                                "--partition",
                                topic, stretches.size()));
    }
    return stretches;
}

void show(Output& output, std::span<const Stretch> stretches) {
    using enum Table::Align;
    Table table({{"PARTITION", kRight},
                 {"BEHIND", kRight},
                 {"UNTIL", kRight},
                 {"KEPT SINCE"},
                 {"OLDER ONES"}});
    for (const Stretch& stretch : stretches) {
        table.add_row({std::to_string(stretch.partition), std::to_string(stretch.from),
                       std::to_string(stretch.until),
                       stretch.kept.oldest ? format_time(*stretch.kept.oldest) : "-",
                       stretch.kept.is_trimmed ? "deleted" : "none"});
    }
    output.table(table);
}

void show_json(Output& output, const std::string& subscription, const ReplayOptions& options,
               std::span<const Stretch> stretches) {
    std::vector<JsonObject> partitions;
    for (const Stretch& stretch : stretches) {
        JsonObject object;
        object.number("partition", stretch.partition)
            .number("behind", stretch.from)
            .number("until", stretch.until)
            .flag("older_deleted", stretch.kept.is_trimmed);
        partitions.push_back(stretch.kept.oldest
                                 ? object.text("kept_since", format_time(*stretch.kept.oldest))
                                 : object.null("kept_since"));
    }
    output.object(JsonObject("instep.replay/1")
                      .text("subscription", subscription)
                      .text("from", options.from)
                      .text("key", options.key)
                      .flag("asked", !options.dry_run)
                      .objects("partitions", partitions));
}

Result<void> ask(const ServiceConfig& config, const Clock& clock, const ReplayOptions& options,
                 const ReplayRequest& request) {
    INSTEP_TRY_ASSIGN(const auto opened, ServiceDatabase::open(config, clock));
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*opened.connection, TransactionMode::kWrite));
    INSTEP_TRY(ask_for_replay(transaction, request));
    return options.dry_run ? Result<void>{} : transaction.commit();
}

Result<ExitCode> replay(Context& context, const ReplayOptions& options) {
    INSTEP_TRY_ASSIGN(const auto configs, load_services(std::span(&options.file, 1)));
    const ServiceConfig& config = configs[0];
    INSTEP_TRY_ASSIGN(const SubscriptionEntry entry,
                      find_subscription(config, options.subscription));
    INSTEP_TRY_ASSIGN(const ReplayStart start, parse_start(options.from));
    Brokers brokers(context.clock);
    INSTEP_TRY_ASSIGN(Broker* const broker, brokers.open(config));

    ReplayRequest request;
    request.subscription = fmt::format("{}.{}", config.name, entry.name);
    INSTEP_TRY_ASSIGN(const auto stretches, find_stretches(*broker, request.subscription,
                                                           entry.topic, start, options.partition));
    for (const Stretch& stretch : stretches) {
        request.partitions.push_back(stretch.partition);
    }
    request.start = start;
    request.key = options.key;
    const char* const user = std::getenv("USER");
    request.who = !options.who.empty() ? options.who
                  : user != nullptr    ? user
                                       : fmt::format("user {}", ::getuid());
    request.reason = options.reason;
    INSTEP_TRY(ask(config, context.clock, options, request));
    if (context.output.json()) {
        show_json(context.output, request.subscription, options, stretches);
        return ExitCode::kOk;
    }
    show(context.output, stretches);
    context.output.message(
        options.dry_run
            ? fmt::format("{} would handle these again", request.subscription)
            : fmt::format("{} handles these again as soon as its program runs; `instep status {}` "
                          "shows how far it is",
                          request.subscription, options.file));
    return ExitCode::kOk;
}

}  // namespace

void add_replay(CommandLine& line, Context& context) {
    const auto options = std::make_shared<ReplayOptions>();
    options->from = "beginning";
    Command command = line.command("replay", "Have a subscription handle past events again");
    command.example("replay mail.toml welcome --dry-run");
    command.example("replay mail.toml welcome --from 2026-11-27T08:00:00Z --key o-17");
    command.argument("FILE", options->file, "The service file of the consumer");
    command.argument("SUBSCRIPTION", options->subscription, "Its name in the file");
    command.option("--from", options->from,
                   "beginning (of what the broker keeps), a time, or behind a position");
    command.option("--partition", options->partition, "Only this one");
    command.option("--key", options->key, "Only events of this key");
    command.flag("--dry-run", options->dry_run, "Only show what would be handled again");
    command.option("--who", options->who, "Kept in the record; else the environment's USER");
    command.option("--reason", options->reason, "Kept in the record");
    command.runs([options, &context] { return replay(context, *options); });
}

}  // namespace instep::cli
