#pragma once

#include "instep/broker/broker.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

namespace instep::test {

/// A broker whose next call of one kind fails, before it does anything or after it did.
class FailingBroker final : public Broker {
public:
    enum class Call : std::uint8_t { kNone, kSeek, kRewind, kAcknowledge };

    explicit FailingBroker(Broker& broker) : broker_(broker) {}

    void fail_next(Call call, bool does_it) {
        failing_ = call;
        does_it_ = does_it;
    }

    /// Runs `call`, or fails.
    template <class Run>
    Result<void> run(Call call, const Run& run) {
        if (failing_ != call) {
            return run();
        }
        failing_ = Call::kNone;
        if (does_it_) {
            EXPECT_TRUE(run());
        }
        return fail(ErrorCode::kUnavailable, "the connection broke");
    }

    [[nodiscard]] BrokerFeatures features() const override { return broker_.features(); }
    [[nodiscard]] std::string_view display_url() const override { return broker_.display_url(); }
    Result<std::unique_ptr<Publisher>> publisher() override { return broker_.publisher(); }
    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override;
    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override {
        INSTEP_TRY_ASSIGN(auto lags, broker_.lag(topic));
        for (SubscriptionLag& lag : lags) {
            lag.acknowledged = std::min(lag.acknowledged, stored_max);
        }
        return lags;
    }
    Result<std::vector<KeptEvents>> kept(std::string_view topic) override {
        return broker_.kept(topic);
    }
    Result<std::uint64_t> trim(Timestamp before) override { return broker_.trim(before); }

    /// What is acknowledged beyond is not stored yet.
    Position stored_max = std::numeric_limits<Position>::max();

private:
    Broker& broker_;
    Call failing_ = Call::kNone;
    bool does_it_ = false;
};

class FailingSubscriber final : public Subscriber {
public:
    FailingSubscriber(FailingBroker& broker, std::unique_ptr<Subscriber> inner)
        : broker_(broker), inner_(std::move(inner)) {}

    Result<std::vector<Assignment>> assignments() override { return inner_->assignments(); }
    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override {
        return inner_->receive(events_max, bytes_max);
    }
    Result<void> acknowledge(std::uint32_t partition, Position position) override {
        return broker_.run(FailingBroker::Call::kAcknowledge,
                           [&] { return inner_->acknowledge(partition, position); });
    }
    Result<void> seek(std::uint32_t partition, Position position) override {
        return broker_.run(FailingBroker::Call::kSeek,
                           [&] { return inner_->seek(partition, position); });
    }
    Result<void> rewind(std::uint32_t partition, Position position) override {
        return broker_.run(FailingBroker::Call::kRewind,
                           [&] { return inner_->rewind(partition, position); });
    }
    void wait(std::stop_token stop, std::chrono::milliseconds patience) override {
        inner_->wait(std::move(stop), patience);
    }

private:
    FailingBroker& broker_;
    std::unique_ptr<Subscriber> inner_;
};

inline Result<std::unique_ptr<Subscriber>> FailingBroker::subscribe(SubscribeOptions options) {
    INSTEP_TRY_ASSIGN(auto inner, broker_.subscribe(std::move(options)));
    return std::make_unique<FailingSubscriber>(*this, std::move(inner));
}

}  // namespace instep::test
