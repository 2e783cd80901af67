#include "subscriptions.hpp"

#include <algorithm>

namespace instep {

std::string request_topic(const ServiceConfig& config) { return config.name + ".requests"; }

bool is_own_subscription(const ServiceConfig& config, const SubscriptionLag& lag) {
    return lag.subscription == request_topic(config) ||
           std::ranges::any_of(config.replicas, [&](const ReplicaDefinition& replica) {
               return replica.subscription() == lag.subscription;
           });
}

}  // namespace instep
