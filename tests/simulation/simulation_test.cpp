#include "tests/simulation/world.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace instep::simulation {
namespace {

constexpr std::uint64_t kSeedsAPart = 500;

/// Bugs that need a rare coincidence are still met by fewer schedules than this.
constexpr std::uint64_t kSeedsToCatchABug = 400;

class Schedules : public testing::TestWithParam<std::uint64_t> {};

TEST_P(Schedules, KeepEveryRuleAndConverge) {
    const std::uint64_t from = 1 + GetParam() * kSeedsAPart;
    for (std::uint64_t seed = from; seed < from + kSeedsAPart; ++seed) {
        const RunResult result = run_seed(seed, nullptr);
        ASSERT_EQ(result.finding, "") << describe_failure(result, nullptr);
    }
}

INSTANTIATE_TEST_SUITE_P(Simulation, Schedules, testing::Range<std::uint64_t>(0, 4));

TEST(SimulationTest, TheSameSeedGivesTheSameRun) {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        const RunResult first = run_seed(seed, nullptr);
        const RunResult second = run_seed(seed, nullptr);
        ASSERT_EQ(first.trace_hash, second.trace_hash) << "seed " << seed;
        ASSERT_GT(first.events, 100U) << "seed " << seed;
    }
}

TEST(SimulationTest, TracingChangesNothing) {
    EXPECT_EQ(run_seed(1, nullptr, TraceText::kLast).trace_hash,
              run_seed(1, nullptr, TraceText::kNone).trace_hash);
}

class PlantedBugs : public testing::TestWithParam<std::string> {};

TEST_P(PlantedBugs, AreCaughtBySeedsThatPassWithoutThem) {
    const PlantedBug* bug = find_planted_bug(GetParam());
    ASSERT_NE(bug, nullptr);
    RunResult caught;
    for (std::uint64_t seed = 1; seed <= kSeedsToCatchABug && caught.finding.empty(); ++seed) {
        caught = run_seed(seed, bug);
    }
    ASSERT_NE(caught.finding, "") << "not caught by " << kSeedsToCatchABug
                                  << " seeds: " << bug->meaning;
    const RunResult without = run_seed(caught.seed, nullptr);
    EXPECT_EQ(without.finding, "") << describe_failure(without, nullptr);
}

std::vector<std::string> names_of_bugs() {
    std::vector<std::string> names;
    for (const PlantedBug& bug : planted_bugs()) {
        names.emplace_back(bug.name);
    }
    return names;
}

INSTANTIATE_TEST_SUITE_P(Simulation, PlantedBugs, testing::ValuesIn(names_of_bugs()),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace instep::simulation
