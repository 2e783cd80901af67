#pragma once

#include "control.hpp"
#include "instep/broker/broker.hpp"

#include <vector>

namespace instep::kafka_broker {

/// What weakens the broker's promises, of the server and of the topics that subscriptions read.
Result<std::vector<BrokerFinding>> examine_cluster(const Cluster& cluster, Control& control);

/// The topics that subscriptions of ours read.
Result<std::vector<std::string>> subscribed_topics(Control& control);

/// True for offsets that a subscription of ours has committed.
bool is_ours(const CommittedOffset& committed);

}  // namespace instep::kafka_broker
