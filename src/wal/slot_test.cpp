#include "slot.hpp"

#include <gtest/gtest.h>

namespace instep::wal {
namespace {

TEST(SlotName, IsAllowedOnTheServer) {
    EXPECT_EQ(slot_name("iam"), "instep_iam");
    EXPECT_EQ(slot_name("order-desk"), "instep_order_desk");
    EXPECT_EQ(slot_name(std::string(64, 'a')).size(), 63U);
    EXPECT_NE(slot_name(std::string(64, 'a')), slot_name(std::string(63, 'a') + "b"));
}

TEST(WalBudget, HasLevels) {
    EXPECT_EQ(budget_alarm(49, 100), WalAlarm::kNone);
    EXPECT_EQ(budget_alarm(50, 100), WalAlarm::kHalf);
    EXPECT_EQ(budget_alarm(80, 100), WalAlarm::kHigh);
    EXPECT_EQ(budget_alarm(100, 100), WalAlarm::kSpent);
}

}  // namespace
}  // namespace instep::wal
