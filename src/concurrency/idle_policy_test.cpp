#include "instep/concurrency/idle_policy.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;

TEST(IdlePolicyTest, StaysAlertForAWhileAfterWork) {
    IdlePolicy policy;
    policy.worked(10s);
    EXPECT_EQ(policy.next_wait(10s + 1ms), 1ms);
    EXPECT_EQ(policy.next_wait(10s + 100ms), 1ms);
}

TEST(IdlePolicyTest, WaitsLongerAndLongerUpToTheBound) {
    IdlePolicy policy;
    policy.worked(10s);
    EXPECT_EQ(policy.next_wait(10s + 101ms), 2ms);
    EXPECT_EQ(policy.next_wait(10s + 103ms), 4ms);
    for (int i = 0; i < 20; ++i) {
        EXPECT_LE(policy.next_wait(11s), 100ms);
    }
    EXPECT_EQ(policy.next_wait(12s), 100ms);
}

TEST(IdlePolicyTest, IsAlertAgainAtOnce) {
    IdlePolicy policy;
    for (int i = 0; i < 20; ++i) {
        policy.next_wait(10s);
    }
    policy.worked(20s);
    EXPECT_EQ(policy.next_wait(20s), 1ms);
}

}  // namespace
}  // namespace instep
