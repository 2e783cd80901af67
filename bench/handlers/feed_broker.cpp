#include "bench/handlers/feed_broker.hpp"

#include <algorithm>

namespace instep::bench {

class FeedBroker::Member final : public Subscriber {
public:
    explicit Member(FeedBroker& broker) : broker_(broker) {}

    Result<std::vector<Assignment>> assignments() override {
        return std::vector<Assignment>{
            {.partition = 0, .epoch = 1, .acknowledged = broker_.acknowledged_}};
    }

    Result<std::vector<Delivery>> receive(std::size_t events_max,
                                          std::size_t /*bytes_max*/) override {
        std::vector<Delivery> deliveries;
        const std::size_t count = std::min(events_max, broker_.events_.size() - broker_.next_);
        deliveries.reserve(count);
        for (std::size_t i = 0; i < count; ++i) {
            deliveries.push_back({.partition = 0,
                                  .position = ++broker_.delivered_,
                                  .event = std::move(broker_.events_[broker_.next_++]),
                                  .malformed = {}});
        }
        return deliveries;
    }

    Result<void> acknowledge(std::uint32_t /*partition*/, Position position) override {
        broker_.acknowledged_ = position;
        return {};
    }

    Result<void> seek(std::uint32_t /*partition*/, Position /*position*/) override {
        return fail(ErrorCode::kUnsupported, "what was handed over is not kept");
    }

    void wait(std::stop_token /*stop*/, std::chrono::milliseconds /*patience*/) override {}

private:
    FeedBroker& broker_;
};

void FeedBroker::give(std::vector<Event> events) {
    events_ = std::move(events);
    next_ = 0;
    given_ += events_.size();
}

BrokerFeatures FeedBroker::features() const { return {.event_bytes_max = 16U * 1024 * 1024}; }

Result<std::unique_ptr<Publisher>> FeedBroker::publisher() {
    return fail(ErrorCode::kUnsupported, "nobody publishes here");
}

Result<std::unique_ptr<Subscriber>> FeedBroker::subscribe(SubscribeOptions /*options*/) {
    return std::make_unique<Member>(*this);
}

Result<std::vector<SubscriptionLag>> FeedBroker::lag(std::string_view /*topic*/) {
    return std::vector<SubscriptionLag>();
}

Result<std::uint64_t> FeedBroker::trim(Timestamp /*before*/) { return 0; }

}  // namespace instep::bench
