#include "subscriptions.hpp"

#include "instep/log/boundary.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

std::string request_topic(const ServiceConfig& config) { return config.name + ".requests"; }

std::vector<std::string> published_topics(const ServiceConfig& config) {
    std::vector<std::string> topics;
    for (const PublishEntry& entry : config.publish) {
        topics.push_back(fmt::format("{}.{}", config.name, entry.entity));
    }
    if (!config.transactions.empty()) {
        topics.push_back(transactions_topic(config.name));
    }
    return topics;
}

std::map<std::string, std::vector<ReplicaDefinition>> replica_groups(const ServiceConfig& config) {
    std::map<std::string, std::vector<ReplicaDefinition>> groups;
    for (const ReplicaDefinition& replica : config.replicas) {
        if (replica.apply == ApplyUnit::kTransaction) {
            groups[replica.source_topic()].push_back(replica);
        }
    }
    return groups;
}

std::vector<std::string> tables_applied_with(const ServiceConfig& config,
                                             const ReplicaDefinition& replica) {
    std::vector<std::string> tables;
    if (replica.apply == ApplyUnit::kTransaction) {
        for (const ReplicaDefinition& other : replica_groups(config).at(replica.source_topic())) {
            tables.push_back(other.table);
        }
    }
    return tables;
}

ConsumerOptions consumer_options(const ServiceConfig& config, const SubscriptionEntry& entry) {
    ConsumerOptions options;
    options.subscription = fmt::format("{}.{}", config.name, entry.name);
    options.topic = entry.topic;
    options.start_at = entry.start_at;
    options.attempts_max = entry.attempts_max;
    options.parked_backoff.initial = entry.retry_first;
    options.parked_backoff.max = entry.retry_max;
    options.on_failure = entry.on_failure;
    options.policies = entry.policies;
    options.crashes_max = entry.crashes_max;
    if (entry.circuit_failures > 0) {
        options.circuit = {.failures_to_open = entry.circuit_failures,
                           .open_for = entry.circuit_open_for};
    }
    options.rate_limit = entry.rate_limit;
    options.parked_keys_max = entry.parked_keys_max;
    options.parked_bytes_max = entry.parked_mib_max << 20U;
    return options;
}

bool is_own_subscription(const ServiceConfig& config, const SubscriptionLag& lag) {
    return lag.subscription == request_topic(config) ||
           std::ranges::any_of(config.replicas,
                               [&](const ReplicaDefinition& replica) {
                                   return replica.subscription() == lag.subscription;
                               }) ||
           std::ranges::any_of(config.subscriptions, [&](const SubscriptionEntry& entry) {
               return lag.subscription == config.name + "." + entry.name;
           });
}

}  // namespace instep
