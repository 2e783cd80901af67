// What is wrong at the brokers of services and shows in no lag, such as a queue that was deleted.
#pragma once

#include "health.hpp"
#include "output.hpp"

#include <string>
#include <vector>

namespace instep::cli {

struct BrokerProblem {
    /// The broker's URL without secrets.
    std::string broker;

    /// What it is about, such as "queue data-owner.lookup_users.0".
    std::string subject;
    std::string message;

    /// What to do; may be empty.
    std::string fix;
};

/// Of each broker that the services' files name, once. That it cannot be examined is a problem too.
std::vector<BrokerProblem> find_broker_problems(const std::vector<ObservedService>& services,
                                                Brokers& brokers);

/// A flow of the services whose queue, stream or topic has a problem is "broken". What is of
/// others, or weakens promises only, changes nothing.
void add_problems(Health& health, const std::vector<BrokerProblem>& problems,
                  const std::vector<ObservedService>& services);

JsonObject to_json(const BrokerProblem& problem);
Table table_of(const std::vector<BrokerProblem>& problems);

}  // namespace instep::cli
