#include "instep/retry/rate_limiter.hpp"

#include "tests/support/manual_clock.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;

class RateLimiterTest : public testing::Test {
protected:
    int acquire_all() {
        int acquired = 0;
        while (limiter_.try_acquire()) {
            ++acquired;
        }
        return acquired;
    }

    test::ManualClock clock_;
    RateLimiter limiter_{{.per_second = 10, .burst = 5}, clock_};
};

TEST_F(RateLimiterTest, LetsABurstThroughAndThenNothing) { EXPECT_EQ(acquire_all(), 5); }

TEST_F(RateLimiterTest, RefillsAtItsRate) {
    acquire_all();
    clock_.advance(300ms);
    EXPECT_EQ(acquire_all(), 3);
}

TEST_F(RateLimiterTest, SavesUpNoMoreThanTheBurst) {
    clock_.advance(1h);
    EXPECT_EQ(acquire_all(), 5);
}

TEST_F(RateLimiterTest, HoldsItsRateOverManySmallSteps) {
    acquire_all();
    int acquired = 0;
    for (int i = 0; i < 10'000; ++i) {
        clock_.advance(1ms);
        acquired += limiter_.try_acquire() ? 1 : 0;
    }
    EXPECT_NEAR(acquired, 100, 1);
}

TEST_F(RateLimiterTest, TellsWhenTokensComeBack) {
    acquire_all();
    EXPECT_EQ(limiter_.available_in(2), 200ms);
    clock_.advance(limiter_.available_in(2));
    EXPECT_TRUE(limiter_.try_acquire(2));
}

TEST_F(RateLimiterTest, NeverHasMoreThanTheBurst) {
    EXPECT_FALSE(limiter_.try_acquire(6));
    EXPECT_EQ(limiter_.available_in(6), std::chrono::microseconds::max());
    EXPECT_EQ(acquire_all(), 5);
}

}  // namespace
}  // namespace instep
