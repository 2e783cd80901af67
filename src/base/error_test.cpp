#include "instep/base/error.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace instep {
namespace {

Result<int> half(int number) {
    if (number % 2 != 0) {
        return fail(ErrorCode::kInvalidArgument, "odd");
    }
    return number / 2;
}

Result<void> check(int number, int& reached) {
    INSTEP_TRY(half(number));
    ++reached;
    return {};
}

Result<int> quarter(int number) {
    INSTEP_TRY_ASSIGN(const int once, half(number));
    INSTEP_TRY_ASSIGN(const int twice, half(once));
    return twice;
}

TEST(Error, PutsThePlaceInFront) {
    const Result<int> result = fail_in("backfill of lookup_users", {ErrorCode::kBusy, "locked"});
    EXPECT_EQ(result.error(), (Error{ErrorCode::kBusy, "backfill of lookup_users: locked"}));
}

TEST(Error, RetriesOnlyWhatMayPassByItself) {
    EXPECT_TRUE(is_retryable(ErrorCode::kUnavailable));
    EXPECT_TRUE(is_retryable(ErrorCode::kBusy));
    EXPECT_TRUE(is_retryable(ErrorCode::kTimeout));
    EXPECT_TRUE(is_retryable(ErrorCode::kStorageFull));
    EXPECT_FALSE(is_retryable(ErrorCode::kFenced));
    EXPECT_FALSE(is_retryable(ErrorCode::kConflict));
    EXPECT_FALSE(is_retryable(ErrorCode::kRejected));
    EXPECT_FALSE(is_retryable(ErrorCode::kCorrupt));
}

TEST(Error, NamesCodesInSnakeCase) {
    EXPECT_EQ(to_string(ErrorCode::kNotFound), "not_found");
    EXPECT_EQ(to_string(ErrorCode::kUnsupported), "unsupported");
}

TEST(Try, ReturnsTheErrorAndRunsNothingBehindIt) {
    int reached = 0;
    EXPECT_TRUE(check(2, reached));
    EXPECT_EQ(check(3, reached).error().message, "odd");
    EXPECT_EQ(reached, 1);
}

TEST(TryAssign, AssignsOrReturnsTheError) {
    EXPECT_EQ(quarter(8), 2);
    EXPECT_FALSE(quarter(6));
    EXPECT_FALSE(quarter(7));
}

TEST(TryAssign, MovesTheValue) {
    const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(5); };
    const auto use = [&]() -> Result<int> {
        INSTEP_TRY_ASSIGN(const std::unique_ptr<int> number, make());
        return *number;
    };
    EXPECT_EQ(use(), 5);
}

}  // namespace
}  // namespace instep
