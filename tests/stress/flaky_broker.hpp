#pragma once

#include "instep/base/random.hpp"
#include "instep/broker/broker.hpp"

#include <memory>

namespace instep::stress {

/// Publishes now and then without saying so, so that events are published and delivered again.
/// `inner` and `random` must outlive it.
class FlakyBroker final : public Broker {
public:
    FlakyBroker(Broker& inner, Random& random) : inner_(inner), random_(random) {}

    [[nodiscard]] BrokerFeatures features() const override { return inner_.features(); }
    [[nodiscard]] std::string_view display_url() const override { return inner_.display_url(); }
    Result<std::unique_ptr<Publisher>> publisher() override;
    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override {
        return inner_.subscribe(std::move(options));
    }
    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override {
        return inner_.lag(topic);
    }
    Result<std::uint64_t> trim(Timestamp before) override { return inner_.trim(before); }

private:
    Broker& inner_;
    Random& random_;
};

}  // namespace instep::stress
