#include "broker_problems.hpp"
#include "command.hpp"
#include "health.hpp"
#include "output.hpp"
#include "parked_json.hpp"
#include "scan_json.hpp"
#include "services.hpp"
#include "stages.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::cli {

namespace {

struct StatusOptions {
    std::vector<std::string> files;
    std::optional<std::chrono::milliseconds> lag_max = kLagMax;
    bool check = false;
};

void add_age(JsonObject& object, std::optional<Timestamp> oldest, Timestamp now) {
    if (oldest) {
        object.real("oldest_seconds", std::chrono::duration<double>(now - *oldest).count());
    } else {
        object.null("oldest_seconds");
    }
}

JsonObject to_json(const SubscriptionLag& lag, Timestamp now) {
    JsonObject object;
    object.text("subscription", lag.subscription)
        .text("topic", lag.topic)
        .number("partition", lag.partition)
        .number("acknowledged", lag.acknowledged)
        .number("newest", lag.newest)
        .number("lag_events", lag.events);
    add_age(object, lag.oldest, now);
    return object;
}

JsonObject to_json(const SubscriptionProgress& progress) {
    return JsonObject()
        .text("subscription", progress.subscription)
        .number("partition", progress.partition)
        .number("position", progress.position)
        .number("applied", progress.counts.applied)
        .number("duplicates_ignored", progress.counts.duplicates_ignored)
        .number("stale_ignored", progress.counts.stale_ignored)
        .number("not_addressed", progress.counts.not_addressed)
        .number("discarded", progress.counts.discarded)
        .text("moved", format_time(progress.moved));
}

JsonObject to_json(const ReplicaStatus& replica) {
    return JsonObject()
        .text("table", replica.table)
        .text("topic", replica.topic)
        .text("state", to_string(replica.state))
        .text("problem", replica.problem)
        .text("backfill", replica.backfill)
        .number("filled_rows", replica.filled_rows);
}

JsonObject to_json(const SubscriptionHalt& halt) {
    JsonObject object;
    object.text("subscription", halt.subscription)
        .text("kind", to_string(halt.halt.kind))
        .text("reason", halt.halt.reason)
        .text("since", format_time(halt.halt.since));
    return halt.partition ? object.number("partition", *halt.partition) : object.null("partition");
}

JsonObject to_json(const ReplayStatus& replay) {
    return JsonObject()
        .number("number", replay.number)
        .text("subscription", replay.subscription)
        .number("partition", replay.partition)
        .text("start", replay.start)
        .text("key", replay.key)
        .text("who", replay.who)
        .text("asked", format_time(replay.asked))
        .text("state", replay.state)
        .number("reached", replay.reached)
        .number("until", replay.until)
        .text("moved", format_time(replay.moved))
        .text("problem", replay.problem);
}

using cli::to_json;

template <class Item, class... More>
std::vector<JsonObject> to_json_list(const std::vector<Item>& items, More... more) {
    std::vector<JsonObject> objects;
    objects.reserve(items.size());
    for (const Item& item : items) {
        objects.push_back(to_json(item, more...));
    }
    return objects;
}

JsonObject to_json(const ServiceStatus& status, Timestamp now) {
    JsonObject relay;
    relay.number("lag_events", status.log_lag.events);
    add_age(relay, status.log_lag.oldest, now);
    if (status.relay_owner) {
        relay.text("holder", *status.relay_owner);
    } else {
        relay.null("holder");
    }
    if (status.wal_slot) {
        relay.object("slot", JsonObject()
                                 .text("name", status.wal_slot->name)
                                 .text("state", status.wal_slot->state)
                                 .number("retained_bytes", status.wal_slot->retained_bytes)
                                 .number("budget_bytes", status.wal_slot->budget_bytes)
                                 .text("alarm", to_string(status.wal_slot->alarm)));
    }
    return JsonObject()
        .text("service", status.service)
        .object("relay", relay)
        .objects("subscriptions", to_json_list(status.subscriptions, now))
        .objects("progress", to_json_list(status.progress))
        .objects("replicas", to_json_list(status.replicas))
        .objects("parked", to_json_list(status.parked))
        .objects("halts", to_json_list(status.halts))
        .objects("replays", to_json_list(status.replays))
        .objects("scans", to_json_list(status.scans));
}

void show_json(Output& output, const std::vector<ObservedService>& services, const Health& health,
               const std::vector<BrokerProblem>& problems, Timestamp now) {
    std::vector<JsonObject> objects;
    objects.reserve(services.size());
    for (const ObservedService& service : services) {
        objects.push_back(to_json(service.status, now));
    }
    output.object(JsonObject("instep.status/1")
                      .flag("healthy", health.healthy)
                      .flag("caught_up", health.caught_up)
                      .text("summary", health.sentence)
                      .objects("services", objects)
                      .objects("stages", to_json_list(stages_of(services), now))
                      .objects("broker_problems", to_json_list(problems)));
}

void show_parked(Output& output, const std::vector<ObservedService>& services, Timestamp now) {
    Table table({{"PARKED KEY"},
                 {"SUBSCRIPTION"},
                 {"STATE"},
                 {"EVENTS", Table::Align::kRight},
                 {"ATTEMPTS", Table::Align::kRight},
                 {"SINCE", Table::Align::kRight},
                 {"ERROR"}});
    for (const ObservedService& service : services) {
        for (const ParkedKey& parked : service.status.parked) {
            table.add_row({printable(parked.key), parked.subscription, state_of(parked),
                           grouped(parked.events), grouped(parked.attempts),
                           rounded(now - parked.parked), printable(parked.error_message)});
        }
    }
    if (!table.empty()) {
        output.line("");
        output.table(table);
    }
}

void show_scans(Output& output, const std::vector<ObservedService>& services) {
    Table table({{"READING"},
                 {"FOR"},
                 {"KIND"},
                 {"ROWS", Table::Align::kRight},
                 {"CHUNKS", Table::Align::kRight}});
    for (const ObservedService& service : services) {
        for (const ScanStatus& scan : service.status.scans) {
            if (scan.state == "open") {
                table.add_row({fmt::format("{}.{}", service.config.name, scan.entity),
                               scan.consumer, scan.kind, grouped(scan.rows_sent),
                               grouped(scan.chunks_sent)});
            }
        }
    }
    if (!table.empty()) {
        output.line("");
        output.table(table);
    }
}

bool is_over(const ReplayStatus& replay) {
    return replay.state != "asked" && replay.state != "running";
}

void show_replays(Output& output, const std::vector<ObservedService>& services, Timestamp now) {
    Table table({{"REPLAY"},
                 {"PARTITION", Table::Align::kRight},
                 {"STATE"},
                 {"KEY"},
                 {"REACHED", Table::Align::kRight},
                 {"UNTIL", Table::Align::kRight},
                 {"MOVED", Table::Align::kRight}});
    for (const ObservedService& service : services) {
        for (const ReplayStatus& replay : service.status.replays) {
            if (!is_over(replay)) {
                table.add_row({replay.subscription, std::to_string(replay.partition), replay.state,
                               replay.key.empty() ? "all" : printable(replay.key),
                               std::to_string(replay.reached), std::to_string(replay.until),
                               rounded(now - replay.moved)});
            }
        }
    }
    if (!table.empty()) {
        output.line("");
        output.table(table);
    }
}

void show_stages(Output& output, const std::vector<ObservedService>& services, Timestamp now) {
    const Table table = table_of(stages_of(services), now);
    if (!table.empty()) {
        output.line("");
        output.table(table);
    }
}

void show_problems(Output& output, const std::vector<BrokerProblem>& problems) {
    const Table table = table_of(problems);
    if (!table.empty()) {
        output.line("");
        output.table(table);
    }
}

void show_slots(Output& output, const std::vector<ObservedService>& services) {
    Table table({{"SLOT"},
                 {"STATE"},
                 {"RETAINED MIB", Table::Align::kRight},
                 {"BUDGET MIB", Table::Align::kRight},
                 {"ALARM"}});
    for (const ObservedService& service : services) {
        if (const auto& slot = service.status.wal_slot) {
            table.add_row({slot->name, std::string(slot->state),
                           grouped(slot->retained_bytes >> 20U), grouped(slot->budget_bytes >> 20U),
                           std::string(to_string(slot->alarm))});
        }
    }
    if (!table.empty()) {
        output.line("");
        output.table(table);
    }
}

void show(Output& output, const std::vector<ObservedService>& services, const Health& health,
          const std::vector<BrokerProblem>& problems, Timestamp now) {
    const Style style = !health.healthy     ? Style::kBad
                        : !health.caught_up ? Style::kWarning
                                            : Style::kGood;
    output.line(output.styled(style, printable(health.sentence)));
    output.line("");
    Table table({{"FLOW"},
                 {"STATE"},
                 {"LAG", Table::Align::kRight},
                 {"OLDEST", Table::Align::kRight},
                 {"HOLDER"}});
    for (const FlowHealth& flow : health.flows) {
        const auto relayed = std::ranges::find_if(services, [&](const ObservedService& service) {
            return flow.name == "relay of " + service.config.name;
        });
        table.add_row({flow.name, flow.state, grouped(flow.lag_events),
                       flow.age ? rounded(*flow.age) : "-",
                       relayed == services.end() ? "" : relayed->status.relay_owner.value_or("-")});
    }
    output.table(table);
    show_problems(output, problems);
    show_stages(output, services, now);
    show_replays(output, services, now);
    show_slots(output, services);
    show_scans(output, services);
    show_parked(output, services, now);
}

Result<ExitCode> status(Context& context, const StatusOptions& options) {
    INSTEP_TRY_ASSIGN(auto configs, load_services(options.files));
    Brokers brokers(context.clock);
    INSTEP_TRY_ASSIGN(const auto services, observe(std::move(configs), context.clock, brokers));
    const std::vector<BrokerProblem> problems = find_broker_problems(services, brokers);
    const Timestamp now = context.clock.now();
    Health health = judge_health(services, now, *options.lag_max);
    add_problems(health, problems, services);
    if (context.output.json()) {
        show_json(context.output, services, health, problems, now);
    } else {
        show(context.output, services, health, problems, now);
    }
    return options.check && !health.healthy ? ExitCode::kProblemFound : ExitCode::kOk;
}

}  // namespace

void add_status(CommandLine& line, Context& context) {
    const auto options = std::make_shared<StatusOptions>();
    Command command = line.command("status", "One sentence of health, then every flow");
    command.example("status iam.toml data_owner.toml");
    command.example("status iam.toml --check --lag-max 30s  # for a monitor");
    command.arguments("FILE...", options->files, "Service files");
    command.flag("--check", options->check, "Exit with 8 if something is unhealthy");
    command.option("--lag-max", options->lag_max,
                   "A flow whose oldest waiting event is older is unhealthy");
    command.runs([options, &context] { return status(context, *options); });
}

}  // namespace instep::cli
