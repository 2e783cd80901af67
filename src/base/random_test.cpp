#include "instep/base/random.hpp"

#include <gtest/gtest.h>

#include <array>

namespace instep {
namespace {

TEST(SeededRandom, GivesTheReferenceNumbersOfSplitMix64) {
    SeededRandom random(1234567);
    EXPECT_EQ(random.next(), 6457827717110365317U);
    EXPECT_EQ(random.next(), 3203168211198807973U);
    EXPECT_EQ(random.next(), 9817491932198370423U);
}

TEST(Random, SpreadsEvenlyBelowTheBound) {
    SeededRandom random(1);
    std::array<int, 7> counts{};
    for (int i = 0; i < 70'000; ++i) {
        ++counts.at(random.below(counts.size()));
    }
    for (const int count : counts) {
        EXPECT_NEAR(count, 10'000, 400);
    }
}

TEST(Random, StaysBelowABoundThatDoesNotDivideTheRange) {
    SeededRandom random(2);
    const std::uint64_t bound = (std::uint64_t{1} << 63U) + 1;
    for (int i = 0; i < 1000; ++i) {
        EXPECT_LT(random.below(bound), bound);
    }
    EXPECT_EQ(random.below(1), 0U);
}

TEST(Random, KeepsUnitBelowOne) {
    SeededRandom random(3);
    double sum = 0;
    for (int i = 0; i < 10'000; ++i) {
        const double value = random.unit();
        ASSERT_GE(value, 0.0);
        ASSERT_LT(value, 1.0);
        sum += value;
    }
    EXPECT_NEAR(sum / 10'000, 0.5, 0.02);
}

TEST(SystemRandom, StartsElsewhereEveryTime) {
    EXPECT_NE(SystemRandom().next(), SystemRandom().next());
}

}  // namespace
}  // namespace instep
