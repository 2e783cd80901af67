// What is asked of a server now and then, over one connection that its askers share.
#pragma once

#include "address.hpp"
#include "instep/broker/broker.hpp"
#include "reconnect.hpp"

#include <string_view>
#include <vector>

namespace instep::rabbitmq {

/// Errors: those of Link.
Result<std::vector<SubscriptionLag>> read_lag(Link& link, std::string_view topic);

/// Errors: those of Link if nothing can be looked at.
Result<std::vector<BrokerFinding>> examine_server(Reconnect& reconnect, const Address& address);

}  // namespace instep::rabbitmq
