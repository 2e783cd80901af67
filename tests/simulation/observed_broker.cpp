#include "tests/simulation/observed_broker.hpp"

#include <map>
#include <utility>

namespace instep::simulation {

namespace {

class ObservedSubscriber final : public Subscriber {
public:
    ObservedSubscriber(std::unique_ptr<Subscriber> inner, SubscriptionWatch& watch)
        : inner_(std::move(inner)), watch_(watch) {}

    /// Positions end with their assignment.
    Result<std::vector<Assignment>> assignments() override {
        auto assignments = inner_->assignments();
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
        auto deliveries = inner_->receive(events_max, bytes_max);
        if (deliveries) {
            for (const Delivery& delivery : *deliveries) {
                watch_.delivered(delivery.event);
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
        return inner_->acknowledge(partition, position);
    }

    Result<void> seek(std::uint32_t partition, Position position) override {
        INSTEP_TRY(inner_->seek(partition, position));
        open_.erase(open_.upper_bound({partition, position}),
                    open_.lower_bound({partition + 1, 0}));
        return {};
    }

    void wait(std::stop_token stop, std::chrono::milliseconds patience) override {
        inner_->wait(std::move(stop), patience);
    }

private:
    std::unique_ptr<Subscriber> inner_;
    SubscriptionWatch& watch_;

    /// Delivered, not yet acknowledged.
    std::map<std::pair<std::uint32_t, Position>, Event> open_;
    std::map<std::uint32_t, std::uint64_t> epochs_;
};

}  // namespace

Result<std::unique_ptr<Subscriber>> ObservedBroker::subscribe(SubscribeOptions options) {
    INSTEP_TRY_ASSIGN(auto inner, broker_.subscribe(std::move(options)));
    return std::make_unique<ObservedSubscriber>(std::move(inner), watch_);
}

}  // namespace instep::simulation
