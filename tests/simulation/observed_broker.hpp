// Any broker, with a watch on what one process receives and acknowledges.
#pragma once

#include "tests/simulation/watches.hpp"
#include "tests/support/passing_broker.hpp"

#include <memory>

namespace instep::simulation {

/// Borrows the broker and the watch.
class ObservedBroker final : public test::PassingBroker {
public:
    ObservedBroker(Broker& broker, SubscriptionWatch& watch)
        : PassingBroker(broker), watch_(watch) {}

    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override;

private:
    SubscriptionWatch& watch_;
};

}  // namespace instep::simulation
