#include "stages.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace instep::cli {

namespace {

void add(Waiting& sum, std::uint64_t events, std::optional<Timestamp> oldest) {
    sum.events += events;
    if (events > 0 && oldest) {
        sum.oldest = sum.oldest ? std::min(*sum.oldest, *oldest) : *oldest;
    }
}

/// What belongs to the name of the service, a dot, and something.
bool is_of(std::string_view name, const std::string& service) {
    return name.starts_with(service) && name.substr(service.size()).starts_with('.');
}

void add_parked(SubscriptionStages& stages, const ServiceStatus& status) {
    stages.blocked.emplace();
    for (const ParkedKey& parked : status.parked) {
        if (parked.subscription == stages.subscription) {
            ++stages.blocked_keys;
            add(*stages.blocked, parked.events, parked.parked);
        }
    }
}

void add_log(SubscriptionStages& stages, const ServiceStatus& status) {
    const auto found = std::ranges::find(status.topics, stages.topic, &TopicLag::topic);
    if (found != status.topics.end()) {
        stages.in_log.emplace();
        add(*stages.in_log, found->lag.events, found->lag.oldest);
    }
}

JsonObject to_json(const Waiting& waiting, Timestamp now) {
    JsonObject object;
    object.number("events", waiting.events);
    if (waiting.oldest) {
        object.real("oldest_seconds", std::chrono::duration<double>(now - *waiting.oldest).count());
    } else {
        object.null("oldest_seconds");
    }
    return object;
}

std::string cell(const std::optional<Waiting>& waiting) {
    return waiting ? grouped(waiting->events) : "?";
}

std::string age(const std::optional<Waiting>& waiting, Timestamp now) {
    return waiting && waiting->oldest ? rounded(now - *waiting->oldest) : "-";
}

}  // namespace

std::vector<SubscriptionStages> stages_of(const std::vector<ObservedService>& services) {
    std::map<std::pair<std::string, std::string>, SubscriptionStages> all;
    // The owner of a topic and its reader both tell of the subscription.
    std::set<std::tuple<std::string, std::string, std::uint32_t>> seen;
    for (const ObservedService& service : services) {
        for (const SubscriptionLag& lag : service.status.subscriptions) {
            if (seen.emplace(lag.subscription, lag.topic, lag.partition).second) {
                SubscriptionStages& stages = all[{lag.subscription, lag.topic}];
                stages.subscription = lag.subscription;
                stages.topic = lag.topic;
                add(stages.at_broker, lag.events, lag.oldest);
            }
        }
    }
    std::vector<SubscriptionStages> sorted;
    for (auto& [name, stages] : all) {
        for (const ObservedService& service : services) {
            if (is_of(stages.topic, service.config.name)) {
                add_log(stages, service.status);
            }
            if (is_of(stages.subscription, service.config.name)) {
                add_parked(stages, service.status);
            }
        }
        sorted.push_back(std::move(stages));
    }
    return sorted;
}

JsonObject to_json(const SubscriptionStages& stages, Timestamp now) {
    JsonObject object;
    object.text("subscription", stages.subscription).text("topic", stages.topic);
    if (stages.in_log) {
        object.object("in_log", to_json(*stages.in_log, now));
    } else {
        object.null("in_log");
    }
    object.object("at_broker", to_json(stages.at_broker, now));
    if (stages.blocked) {
        object.object("blocked", to_json(*stages.blocked, now).number("keys", stages.blocked_keys));
    } else {
        object.null("blocked");
    }
    return object;
}

Table table_of(const std::vector<SubscriptionStages>& all, Timestamp now) {
    using enum Table::Align;
    Table table({{"SUBSCRIPTION"},
                 {"IN LOG", kRight},
                 {"OLDEST", kRight},
                 {"AT BROKER", kRight},
                 {"OLDEST", kRight},
                 {"BLOCKED", kRight},
                 {"KEYS", kRight},
                 {"OLDEST", kRight}});
    for (const SubscriptionStages& stages : all) {
        if (stages.at_broker.events > 0 || (stages.in_log && stages.in_log->events > 0) ||
            stages.blocked_keys > 0) {
            table.add_row({stages.subscription, cell(stages.in_log), age(stages.in_log, now),
                           cell(stages.at_broker), age(stages.at_broker, now), cell(stages.blocked),
                           grouped(stages.blocked_keys), age(stages.blocked, now)});
        }
    }
    return table;
}

}  // namespace instep::cli
