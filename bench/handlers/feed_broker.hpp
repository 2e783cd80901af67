// A broker that hands over what it is given, at no cost: so a consumer is measured by itself.
#pragma once

#include "instep/broker/broker.hpp"

#include <vector>

namespace instep::bench {

/// For one subscription with one member, which holds the one partition, and for one thread.
class FeedBroker final : public Broker {
public:
    /// What is to be received next, behind what was given before.
    void give(std::vector<Event> events);

    /// Everything that was given is acknowledged.
    [[nodiscard]] bool is_drained() const { return acknowledged_ == given_; }

    [[nodiscard]] BrokerFeatures features() const override;
    [[nodiscard]] std::string_view display_url() const override { return "feed"; }
    Result<std::unique_ptr<Publisher>> publisher() override;
    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override;
    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override;
    Result<std::uint64_t> trim(Timestamp before) override;

private:
    class Member;

    std::vector<Event> events_;
    std::size_t next_ = 0;
    Position given_ = 0;
    Position delivered_ = 0;
    Position acknowledged_ = 0;
};

}  // namespace instep::bench
