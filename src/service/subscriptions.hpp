// Which subscriptions a service has at its broker.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/config/service_file.hpp"

#include <string>

namespace instep {

/// The topic that a service takes requests from, and its only subscription to it.
std::string request_topic(const ServiceConfig& config);

/// The service is the one that reads this subscription.
bool is_own_subscription(const ServiceConfig& config, const SubscriptionLag& lag);

}  // namespace instep
