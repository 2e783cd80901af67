#include "widening.hpp"

#include <gtest/gtest.h>

namespace instep::postgres {
namespace {

TEST(WideningTest, HasEveryValueOfTheOldType) {
    EXPECT_TRUE(widens("smallint", "integer"));
    EXPECT_TRUE(widens("integer", "bigint"));
    EXPECT_TRUE(widens("bigint", "numeric"));
    EXPECT_TRUE(widens("integer", "numeric(10,0)"));
    EXPECT_TRUE(widens("numeric(10,2)", "numeric(12,2)"));
    EXPECT_TRUE(widens("numeric(10,2)", "numeric(12,4)"));
    EXPECT_TRUE(widens("numeric(10,2)", "numeric"));
    EXPECT_TRUE(widens("real", "double precision"));
    EXPECT_TRUE(widens("character varying(50)", "character varying(100)"));
    EXPECT_TRUE(widens("character varying(50)", "character varying"));
    EXPECT_TRUE(widens("character varying(50)", "text"));
    EXPECT_TRUE(widens("character varying", "text"));
}

TEST(WideningTest, NeverNarrowsAndNeverGuesses) {
    EXPECT_FALSE(widens("integer", "integer"));
    EXPECT_FALSE(widens("bigint", "integer"));
    EXPECT_FALSE(widens("bigint", "numeric(18,0)"));
    EXPECT_FALSE(widens("bigint", "double precision"));
    EXPECT_FALSE(widens("numeric", "numeric(10,2)"));
    EXPECT_FALSE(widens("numeric(10,2)", "numeric(10,4)"));
    EXPECT_FALSE(widens("character varying(100)", "character varying(50)"));
    EXPECT_FALSE(widens("text", "character varying(50)"));
    EXPECT_FALSE(widens("character(5)", "text"));
    EXPECT_FALSE(widens("timestamp(3) without time zone", "timestamp without time zone"));
    EXPECT_FALSE(widens("integer[]", "bigint[]"));
    EXPECT_FALSE(widens("", "text"));
}

}  // namespace
}  // namespace instep::postgres
