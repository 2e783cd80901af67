// Which subscriptions a service has at its broker.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/config/service_file.hpp"
#include "instep/consumer/consumer_options.hpp"

#include <map>
#include <string>
#include <vector>

namespace instep {

/// The topic that a service takes requests from, and its only subscription to it.
std::string request_topic(const ServiceConfig& config);

/// The topics that the service publishes to, besides those of others' requests.
std::vector<std::string> published_topics(const ServiceConfig& config);

/// Replicas that take in whole transactions, by the topic that brings them.
std::map<std::string, std::vector<ReplicaDefinition>> replica_groups(const ServiceConfig& config);

/// The tables that take in whole transactions with the replica, its own among them; empty if it
/// does not.
std::vector<std::string> tables_applied_with(const ServiceConfig& config,
                                             const ReplicaDefinition& replica);

/// How the service reads a subscription of its file; the member is left open.
ConsumerOptions consumer_options(const ServiceConfig& config, const SubscriptionEntry& entry);

/// The service is the one that reads this subscription.
bool is_own_subscription(const ServiceConfig& config, const SubscriptionLag& lag);

}  // namespace instep
