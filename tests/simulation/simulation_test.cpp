#include "tests/simulation/world.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace instep::simulation {
namespace {

constexpr std::uint64_t kSeedsABroker = 500;

/// Bugs that need a rare coincidence are still met by fewer schedules than this.
constexpr std::uint64_t kSeedsToCatchABug = 400;

class Schedules : public testing::TestWithParam<BrokerKind> {};

TEST_P(Schedules, KeepEveryRuleAndConverge) {
    const std::uint64_t from = 1 + static_cast<std::uint64_t>(GetParam()) * kSeedsABroker;
    for (std::uint64_t seed = from; seed < from + kSeedsABroker; ++seed) {
        const RunResult result = run({.seed = seed, .broker = GetParam()});
        ASSERT_EQ(result.finding, "") << describe_failure(result);
    }
}

INSTANTIATE_TEST_SUITE_P(Simulation, Schedules, testing::ValuesIn(kBrokerKinds),
                         [](const auto& tested) { return std::string(to_string(tested.param)); });

TEST(SimulationTest, TheSameSeedGivesTheSameRun) {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        const RunResult first = run({.seed = seed});
        const RunResult second = run({.seed = seed});
        ASSERT_EQ(first.trace_hash, second.trace_hash) << "seed " << seed;
        ASSERT_GT(first.events, 100U) << "seed " << seed;
    }
}

TEST(SimulationTest, TracingChangesNothing) {
    EXPECT_EQ(run({.seed = 1}, TraceText::kLast).trace_hash,
              run({.seed = 1}, TraceText::kNone).trace_hash);
}

class PlantedBugs : public testing::TestWithParam<std::string> {};

TEST_P(PlantedBugs, AreCaughtBySeedsThatPassWithoutThem) {
    const PlantedBug* bug = find_planted_bug(GetParam());
    ASSERT_NE(bug, nullptr);
    RunResult caught;
    for (std::uint64_t seed = 1; seed <= kSeedsToCatchABug && caught.finding.empty(); ++seed) {
        caught = run({.seed = seed, .bug = bug});
    }
    ASSERT_NE(caught.finding, "") << "not caught by " << kSeedsToCatchABug
                                  << " seeds: " << bug->meaning;
    const RunResult without = run({.seed = caught.scenario.seed, .broker = bug->broker});
    EXPECT_EQ(without.finding, "") << describe_failure(without);
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
