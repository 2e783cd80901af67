// Any broker, with a watch on what one process receives and acknowledges.
#pragma once

#include "instep/broker/broker.hpp"
#include "tests/simulation/watches.hpp"

#include <memory>

namespace instep::simulation {

/// Borrows the broker and the watch.
class ObservedBroker final : public Broker {
public:
    ObservedBroker(Broker& broker, SubscriptionWatch& watch) : broker_(broker), watch_(watch) {}

    [[nodiscard]] BrokerFeatures features() const override { return broker_.features(); }
    [[nodiscard]] std::string_view display_url() const override { return broker_.display_url(); }
    Result<std::unique_ptr<Publisher>> publisher() override { return broker_.publisher(); }
    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override;
    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override {
        return broker_.lag(topic);
    }
    Result<std::uint64_t> trim(Timestamp before) override { return broker_.trim(before); }

private:
    Broker& broker_;
    SubscriptionWatch& watch_;
};

}  // namespace instep::simulation
