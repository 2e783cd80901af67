#include "tests/simulation/observed_broker.hpp"

#include <map>
#include <utility>

namespace instep::simulation {

namespace {

class ObservedSubscriber final : public test::PassingSubscriber {
public:
    ObservedSubscriber(std::unique_ptr<Subscriber> inner, SubscriptionWatch& watch)
        : PassingSubscriber(std::move(inner)), watch_(watch) {}

    /// Positions end with their assignment.
    Result<std::vector<Assignment>> assignments() override {
        auto assignments = PassingSubscriber::assignments();
        if (assignments) {
            std::map<std::uint32_t, std::uint64_t> epochs;
            for (const Assignment& assignment : *assignments) {
                epochs[assignment.partition] = assignment.epoch;
            }
            std::erase_if(open_, [&](const auto& open) {
                const std::uint32_t partition = open.first.first;
                return !epochs.contains(partition) || epochs[partition] != epochs_[partition];
            });
            epochs_ = std::move(epochs);
        }
        return assignments;
    }

    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override {
        auto deliveries = PassingSubscriber::receive(events_max, bytes_max);
        if (deliveries) {
            for (const Delivery& delivery : *deliveries) {
                watch_.delivered(delivery);
                open_[{delivery.partition, delivery.position}] = delivery.event;
            }
        }
        return deliveries;
    }

    Result<void> acknowledge(std::uint32_t partition, Position position) override {
        const auto begin = open_.lower_bound({partition, 0});
        const auto end = open_.upper_bound({partition, position});
        for (auto open = begin; open != end; ++open) {
            watch_.acknowledged(open->second);
        }
        open_.erase(begin, end);
        return PassingSubscriber::acknowledge(partition, position);
    }

    Result<void> seek(std::uint32_t partition, Position position) override {
        INSTEP_TRY(PassingSubscriber::seek(partition, position));
        forget_behind(partition, position);
        return {};
    }

    Result<void> rewind(std::uint32_t partition, Position position) override {
        INSTEP_TRY(PassingSubscriber::rewind(partition, position));
        forget_behind(partition, position);
        return {};
    }

private:
    /// What stands behind the position comes again.
    void forget_behind(std::uint32_t partition, Position position) {
        open_.erase(open_.upper_bound({partition, position}),
                    open_.lower_bound({partition + 1, 0}));
    }

    SubscriptionWatch& watch_;

    /// Delivered, not yet acknowledged.
    std::map<std::pair<std::uint32_t, Position>, Event> open_;
    std::map<std::uint32_t, std::uint64_t> epochs_;
};

}  // namespace

Result<std::unique_ptr<Subscriber>> ObservedBroker::subscribe(SubscribeOptions options) {
    INSTEP_TRY_ASSIGN(auto inner, PassingBroker::subscribe(std::move(options)));
    return std::make_unique<ObservedSubscriber>(std::move(inner), watch_);
}

}  // namespace instep::simulation
