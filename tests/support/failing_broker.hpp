#pragma once

#include "tests/support/passing_broker.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

namespace instep::test {

/// A broker whose next call of one kind fails, before it does anything or after it did.
class FailingBroker final : public PassingBroker {
public:
    enum class Call : std::uint8_t { kNone, kSeek, kRewind, kAcknowledge };

    using PassingBroker::PassingBroker;

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

    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override;
    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override {
        INSTEP_TRY_ASSIGN(auto lags, PassingBroker::lag(topic));
        for (SubscriptionLag& lag : lags) {
            lag.acknowledged = std::min(lag.acknowledged, stored_max);
        }
        return lags;
    }
    /// What is acknowledged beyond is not stored yet.
    Position stored_max = std::numeric_limits<Position>::max();

private:
    Call failing_ = Call::kNone;
    bool does_it_ = false;
};

class FailingSubscriber final : public PassingSubscriber {
public:
    FailingSubscriber(FailingBroker& broker, std::unique_ptr<Subscriber> inner)
        : PassingSubscriber(std::move(inner)), broker_(broker) {}

    Result<void> acknowledge(std::uint32_t partition, Position position) override {
        return broker_.run(FailingBroker::Call::kAcknowledge,
                           [&] { return PassingSubscriber::acknowledge(partition, position); });
    }
    Result<void> seek(std::uint32_t partition, Position position) override {
        return broker_.run(FailingBroker::Call::kSeek,
                           [&] { return PassingSubscriber::seek(partition, position); });
    }
    Result<void> rewind(std::uint32_t partition, Position position) override {
        return broker_.run(FailingBroker::Call::kRewind,
                           [&] { return PassingSubscriber::rewind(partition, position); });
    }

private:
    FailingBroker& broker_;
};

inline Result<std::unique_ptr<Subscriber>> FailingBroker::subscribe(SubscribeOptions options) {
    INSTEP_TRY_ASSIGN(auto inner, PassingBroker::subscribe(std::move(options)));
    return std::make_unique<FailingSubscriber>(*this, std::move(inner));
}

}  // namespace instep::test
