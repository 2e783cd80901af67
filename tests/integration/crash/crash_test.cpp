// What is promised over crashes, on real processes: whatever is killed and wherever, afterwards
// nothing is lost, nothing took effect twice, and no row was ever older than it had been.
#include "instep/base/fail_point.hpp"
#include "instep/db/sqlite/database.hpp"
#include "tests/integration/crash/crash_fixture.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <ostream>
#include <string>
#include <tuple>

namespace instep::test {
namespace {

using namespace std::chrono_literals;

struct CrashPoint {
    std::string name;
    int hit = 1;
    Side side = Side::kOwner;
};

/// The processes that pass a point. Both relay and consume: rows go one way, requests the other.
std::vector<Side> sides_of(std::string_view point) {
    if (point == "consumer.after_park") {
        return {Side::kReplicas};
    }
    if (point.starts_with("relay.") || point.starts_with("consumer.")) {
        return {Side::kOwner, Side::kReplicas};
    }
    return {point.starts_with("scan.") ? Side::kOwner : Side::kReplicas};
}

/// What it takes that a point is passed.
Requests requests_for(std::string_view point) {
    const bool refills = point == "replica.after_chunk_rows" || point == "replica.after_strays" ||
                         point == "backfill.after_request" || point == "log.after_append";
    return refills ? Requests::kRefills : Requests::kVerifications;
}

std::vector<CrashPoint> all_crash_points() {
    std::vector<CrashPoint> points;
    for (const std::string_view name : fail_point_names()) {
        for (const Side side : sides_of(name)) {
            points.push_back({std::string(name), 1, side});
            points.push_back({std::string(name), 3, side});
        }
    }
    return points;
}

std::string name_of(const CrashPoint& point) {
    std::string name = fmt::format("{}_{}_{}", point.name, point.hit,
                                   point.side == Side::kOwner ? "owner" : "replicas");
    std::ranges::replace(name, '.', '_');
    return name;
}

void PrintTo(const CrashPoint& point, std::ostream* out) { *out << name_of(point); }

class CrashPointTest : public CrashFixture, public testing::WithParamInterface<CrashPoint> {};

TEST_P(CrashPointTest, LosesNothingRepeatsNothingAndGoesBackNowhere) {
    const CrashPoint& point = GetParam();
    const Side other = point.side == Side::kOwner ? Side::kReplicas : Side::kOwner;
    requests_ = requests_for(point.name);
    given_live_replicas();
    if (point.name == "consumer.after_park") {
        given_poison();
    }
    writer_->write(200);
    start(other);
    start(point.side, fmt::format("{}=crash@{}", point.name, point.hit));
    ASSERT_TRUE(work_until([&] { return process(point.side)->has_ended(); }, 8s))
        << point.name << " was not passed " << point.hit << " times";
    bury(point.side);
    start(point.side);
    // Few, since a lost change hides behind the next one of its key.
    int more = 10;
    EXPECT_TRUE(work_until([&] { return --more == 0; }, 8s));
    without_poison();
    expect_in_step();
}

INSTANTIATE_TEST_SUITE_P(Crash, CrashPointTest, testing::ValuesIn(all_crash_points()),
                         [](const auto& point) { return name_of(point.param); });

class CrashTest : public CrashFixture {
protected:
    /// The process that relays for the owner now; 0 if none does.
    pid_t relaying() {
        const std::string holder = value_of(
            *owner_, "SELECT coalesce(max(owner), '') FROM instep_lease WHERE name = 'relay/0'");
        const std::size_t slash = holder.find('/');
        return slash == std::string::npos ? 0 : std::atoi(holder.c_str() + slash + 1);
    }

    /// Kills either process every 50 to 300 ms, with a poisoned key now and then.
    void run_storm() {
        const char* given = std::getenv("INSTEP_STORM_SEED");
        const std::uint64_t seed =
            given == nullptr ? SystemRandom().next() : std::strtoull(given, nullptr, 10);
        SCOPED_TRACE(fmt::format("INSTEP_STORM_SEED={}", seed));
        SeededRandom random(seed);
        given_live_replicas(seed);
        start(Side::kOwner);
        start(Side::kReplicas);
        for (int kills = 0; kills < 25; ++kills) {
            const std::chrono::milliseconds pause(50 + random.below(251));
            std::ignore = work_until([] { return false; }, pause);
            const Side side = random.below(2) == 0 ? Side::kOwner : Side::kReplicas;
            kill(side);
            start(side);
            without_poison();
            if (random.below(3) == 0) {
                given_poison();
            }
        }
        without_poison();
        expect_in_step();
    }

    /// How the owner's database was before the first apply.
    void without_instep() {
        for (const std::string_view type : {"trigger", "table"}) {
            const std::string find = fmt::format(
                "SELECT 'DROP {0} ' || name FROM sqlite_schema WHERE type = '{0}' "
                "AND name GLOB 'instep_*'",
                type);
            for (const std::string& drop : rows_of(*owner_, find)) {
                run_sql(*owner_, drop);
            }
        }
    }
};

TEST_F(CrashTest, AStormOfKillsLosesNothing) { run_storm(); }

TEST_F(CrashTest, AStormOfKillsAmongRefillsChangesNothing) {
    requests_ = Requests::kRefills;
    run_storm();
}

TEST_F(CrashTest, AnotherProcessTakesOverTheRelayOfAKilledOne) {
    given_live_replicas();
    start(Side::kReplicas);
    start(Side::kOwner);
    const pid_t first = process(Side::kOwner)->id();
    ASSERT_TRUE(work_until([&] { return relaying() == first; }, 5s));
    auto second = launch(Side::kOwner);
    ASSERT_TRUE(second->prints("ready"));
    EXPECT_EQ(relaying(), first);
    process(Side::kOwner)->signal(SIGKILL);
    EXPECT_EQ(process(Side::kOwner)->wait().exit, 137);
    EXPECT_TRUE(work_until([&] { return relaying() == second->id(); }, 20s));
    process(Side::kOwner) = std::move(second);
    expect_in_step();
}

TEST_F(CrashTest, AnApplyThatIsKilledLeavesAllOfAContractOrNothing) {
    given_services();
    std::size_t killed = 0;
    for (std::chrono::milliseconds delay = 0ms; delay < 60ms; delay += 2ms) {
        SCOPED_TRACE(fmt::format("killed after {} ms", delay.count()));
        Process apply(INSTEP_PROGRAM, options({"apply", "iam.toml"}));
        std::ignore = eventually([&] { return apply.has_ended(); }, delay);
        apply.signal(SIGKILL);
        killed += apply.wait().exit == 137 ? 1 : 0;

        writer_->write(5);
        const std::string triggers =
            value_of(*owner_, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'");
        EXPECT_TRUE(triggers == "0" || triggers == "4") << triggers;
        const Finished again = run({"apply", "iam.toml"});
        EXPECT_EQ(again.exit, 0) << again.err;
        EXPECT_EQ(run({"plan", "iam.toml", "--check"}).exit, 0);
        without_instep();
    }
    EXPECT_GT(killed, 0U);
}

}  // namespace
}  // namespace instep::test
