#include "instep/retry/circuit_breaker.hpp"

#include "tests/support/manual_clock.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;

class CircuitBreakerTest : public testing::Test {
protected:
    void fail(int times) {
        for (int i = 0; i < times; ++i) {
            breaker_.failed();
        }
    }

    void open_and_wait() {
        fail(3);
        clock_.advance(5s);
    }

    test::ManualClock clock_;
    CircuitBreaker breaker_{{.failures_to_open = 3, .open_for = 5s, .probes_max = 2}, clock_};
};

TEST_F(CircuitBreakerTest, OpensAfterFailuresInARow) {
    fail(2);
    EXPECT_TRUE(breaker_.try_acquire());
    fail(1);
    EXPECT_EQ(breaker_.state(), CircuitState::kOpen);
    EXPECT_FALSE(breaker_.try_acquire());
}

TEST_F(CircuitBreakerTest, ForgetsFailuresAfterASuccess) {
    fail(2);
    breaker_.succeeded();
    fail(2);
    EXPECT_EQ(breaker_.state(), CircuitState::kClosed);
}

TEST_F(CircuitBreakerTest, TellsWhenToComeBack) {
    EXPECT_EQ(breaker_.retry_in(), 0us);
    fail(3);
    clock_.advance(2s);
    EXPECT_EQ(breaker_.retry_in(), 3s);
    clock_.advance(10s);
    EXPECT_EQ(breaker_.retry_in(), 0us);
}

TEST_F(CircuitBreakerTest, LetsOnlySoManyProbesThrough) {
    open_and_wait();
    EXPECT_TRUE(breaker_.try_acquire());
    EXPECT_EQ(breaker_.state(), CircuitState::kHalfOpen);
    EXPECT_TRUE(breaker_.try_acquire());
    EXPECT_FALSE(breaker_.try_acquire());
}

TEST_F(CircuitBreakerTest, ClosesWhenAllProbesSucceed) {
    open_and_wait();
    ASSERT_TRUE(breaker_.try_acquire());
    ASSERT_TRUE(breaker_.try_acquire());
    breaker_.succeeded();
    EXPECT_EQ(breaker_.state(), CircuitState::kHalfOpen);
    breaker_.succeeded();
    EXPECT_EQ(breaker_.state(), CircuitState::kClosed);
    fail(2);
    EXPECT_TRUE(breaker_.try_acquire());
}

TEST_F(CircuitBreakerTest, OpensAgainWhenAProbeFails) {
    open_and_wait();
    ASSERT_TRUE(breaker_.try_acquire());
    breaker_.failed();
    EXPECT_EQ(breaker_.state(), CircuitState::kOpen);
    EXPECT_EQ(breaker_.retry_in(), 5s);
}

TEST_F(CircuitBreakerTest, WritesOffProbesThatNobodyReports) {
    open_and_wait();
    ASSERT_TRUE(breaker_.try_acquire());
    ASSERT_TRUE(breaker_.try_acquire());
    EXPECT_EQ(breaker_.retry_in(), 5s);
    clock_.advance(5s);
    EXPECT_TRUE(breaker_.try_acquire());
}

TEST_F(CircuitBreakerTest, LetsAnotherProbeThroughForOneThatWasNotMade) {
    open_and_wait();
    ASSERT_TRUE(breaker_.try_acquire());
    ASSERT_TRUE(breaker_.try_acquire());
    ASSERT_FALSE(breaker_.try_acquire());
    breaker_.not_called();
    EXPECT_TRUE(breaker_.try_acquire());
    EXPECT_FALSE(breaker_.try_acquire());
}

TEST_F(CircuitBreakerTest, IgnoresCallsThatBeganBeforeItOpened) {
    fail(3);
    clock_.advance(4s);
    breaker_.succeeded();
    fail(5);
    EXPECT_EQ(breaker_.state(), CircuitState::kOpen);
    EXPECT_EQ(breaker_.retry_in(), 1s);
}

}  // namespace
}  // namespace instep
