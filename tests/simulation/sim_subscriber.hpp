// A member of a subscription at a simulated broker.
#pragma once

#include "instep/broker/broker.hpp"
#include "tests/simulation/sim_broker.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace instep::simulation {

class SimSubscriber final : public Subscriber {
public:
    SimSubscriber(SimBroker& broker, SubscribeOptions options)
        : broker_(broker), options_(std::move(options)), session_(broker.next_session()) {}
    SimSubscriber(const SimSubscriber&) = delete;
    SimSubscriber& operator=(const SimSubscriber&) = delete;
    ~SimSubscriber() override;

    Result<std::vector<Assignment>> assignments() override;
    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override;
    Result<void> acknowledge(std::uint32_t partition, Position position) override;
    Result<void> seek(std::uint32_t partition, Position position) override;
    Result<void> rewind(std::uint32_t partition, Position position) override;
    void wait(std::stop_token /*stop*/, std::chrono::milliseconds /*patience*/) override {}

private:
    /// As the broker's, but the broker may cut this member off before it looks at the call.
    Result<void> enter();
    void leave();
    void renew();
    void share_out();
    void give_up_more_than(std::size_t fair);
    void take_free(std::size_t fair);
    void fetch(Held& held, std::size_t count);
    static void give_out(Held& held, std::size_t events_max, std::size_t bytes_max,
                         std::vector<Delivery>& deliveries);
    void read_again(Held& held, Position position) const;
    Result<Held*> find(std::uint32_t partition);
    [[nodiscard]] SimBroker::Subscription& subscription() const {
        return broker_.subscription(options_.subscription);
    }
    [[nodiscard]] Slot& slot(const Held& held) const {
        return *subscription().slots[held.partition];
    }

    SimBroker& broker_;
    SubscribeOptions options_;
    std::uint64_t session_;

    /// Has been cut off, and does not hear of it before then.
    Timestamp believes_until_{};
    std::vector<Held> held_;
};

}  // namespace instep::simulation
