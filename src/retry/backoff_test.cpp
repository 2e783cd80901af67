#include "instep/retry/backoff.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;

constexpr BackoffPolicy kExact{.initial = 100ms, .multiplier = 2, .max = 1s, .jitter = 0};

TEST(Backoff, DoublesUpToItsMaximum) {
    SeededRandom random(1);
    EXPECT_EQ(kExact.delay(1, random), 100ms);
    EXPECT_EQ(kExact.delay(2, random), 200ms);
    EXPECT_EQ(kExact.delay(4, random), 800ms);
    EXPECT_EQ(kExact.delay(5, random), 1s);
}

TEST(Backoff, StaysAtItsMaximumForEver) {
    SeededRandom random(2);
    EXPECT_EQ(kExact.delay(5000, random), 1s);
    EXPECT_EQ(kExact.delay(UINT32_MAX, random), 1s);
}

TEST(Backoff, ShortensByUpToTheJitterAndNeverLengthens) {
    SeededRandom random(3);
    BackoffPolicy policy = kExact;
    policy.jitter = 0.5;
    auto shortest = 1000ms;
    auto longest = 0ms;
    for (int i = 0; i < 2000; ++i) {
        const auto delay = policy.delay(9, random);
        shortest = std::min(shortest, delay);
        longest = std::max(longest, delay);
    }
    EXPECT_GE(shortest, 500ms);
    EXPECT_LE(longest, 1000ms);
    EXPECT_LT(shortest, 520ms);
    EXPECT_GT(longest, 980ms);
}

TEST(Backoff, IsTheSameForTheSameSeed) {
    const BackoffPolicy policy;
    SeededRandom first(4);
    SeededRandom second(4);
    for (std::uint32_t attempt = 1; attempt < 20; ++attempt) {
        EXPECT_EQ(policy.delay(attempt, first), policy.delay(attempt, second));
    }
}

}  // namespace
}  // namespace instep
