#include "log_row.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

TEST(EventKeyTest, IsTheKeyOfTheRowWhereAnAttributeCanHoldIt) {
    EXPECT_EQ(event_key("42"), "42");
    EXPECT_EQ(event_key("Zoë \"x\""), "Zoë \"x\"");
    EXPECT_EQ(event_key("[1,\"a\"]"), "[1,\"a\"]");
}

TEST(EventKeyTest, IsInDigitsOtherwise) {
    EXPECT_EQ(event_key(""), "hex:");
    EXPECT_EQ(event_key("a\n"), "hex:610a");
    EXPECT_EQ(event_key("\xC2\x85"), "hex:c285");
    EXPECT_NE(event_key("hex:610a"), "hex:610a");
}

TEST(EventKeyTest, TellsLongKeysApart) {
    const std::string long_key(5000, 'k');
    EXPECT_TRUE(fits_attribute(event_key(long_key)));
    EXPECT_NE(event_key(long_key + "1"), event_key(long_key + "2"));
}

}  // namespace
}  // namespace instep
