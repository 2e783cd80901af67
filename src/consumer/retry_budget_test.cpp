#include "retry_budget.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;

TEST(RetryBudgetTest, IsOpenUntilParkedKeysWereTried) {
    RetryBudget budget;
    budget.applied(1s);
    EXPECT_TRUE(budget.is_open());
    budget.tried(1ms);
    EXPECT_FALSE(budget.is_open());
}

TEST(RetryBudgetTest, OpensOnceOthersHadTheirShare) {
    RetryBudget budget;
    budget.tried(1ms);
    budget.applied(18ms);
    EXPECT_FALSE(budget.is_open());
    budget.applied(1ms);
    EXPECT_TRUE(budget.is_open());
}

TEST(RetryBudgetTest, OwesNothingWhereNothingElseWaits) {
    RetryBudget budget;
    budget.tried(1s);
    budget.idle();
    EXPECT_TRUE(budget.is_open());
}

TEST(RetryBudgetTest, TakesNoHarmFromAClockThatGoesBack) {
    RetryBudget budget;
    budget.tried(-1s);
    EXPECT_TRUE(budget.is_open());
    budget.tried(1ms);
    budget.applied(-1s);
    budget.applied(19ms);
    EXPECT_TRUE(budget.is_open());
}

}  // namespace
}  // namespace instep
