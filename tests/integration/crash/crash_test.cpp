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
    Home home = Home::kSqlite;
    CaptureBy capture = CaptureBy::kTriggers;
    Way way = Way::kBroker;
};

/// The processes that pass a point. Both relay and consume: rows go one way, requests the other.
std::vector<Side> sides_of(std::string_view point, Way way) {
    if (point == "consumer.after_park") {
        return {Side::kReplicas};
    }
    if (point.starts_with("relay.") || point.starts_with("consumer.") ||
        point == "log.after_open") {
        return {Side::kOwner, Side::kReplicas};
    }
    // Whoever reads the log reads its own chunks.
    const bool of_owner =
        (point.starts_with("scan.") && way == Way::kBroker) || point.starts_with("wal.");
    return {of_owner ? Side::kOwner : Side::kReplicas};
}

/// What it takes that a point is passed.
Requests requests_for(std::string_view point) {
    const bool refills = point == "replica.after_chunk_rows" || point == "replica.after_strays" ||
                         point == "backfill.after_request" || point == "log.after_append";
    return refills ? Requests::kRefills : Requests::kVerifications;
}

/// The owner's, with the write-ahead log. Those of a new slot and of a switch have their own
/// tests.
void add_wal_points(std::vector<CrashPoint>& points) {
    for (const std::string_view name : fail_point_names()) {
        const bool of_relay = name.starts_with("relay.") || name.starts_with("scan.");
        const bool of_reader =
            name.starts_with("wal.") && name != "wal.after_new_slot" && name != "wal.before_switch";
        for (const int hit : {1, 3}) {
            // A stream starts once.
            if (of_relay || (of_reader && (hit == 1 || name != "wal.after_start"))) {
                points.push_back(
                    {std::string(name), hit, Side::kOwner, Home::kPostgres, CaptureBy::kWal});
            }
        }
    }
}

std::vector<CrashPoint> all_crash_points() {
    std::vector<CrashPoint> points;
    add_wal_points(points);
    for (const std::string_view name : fail_point_names()) {
        if (name.starts_with("wal.") || name.starts_with("move.")) {
            // `instep migrate-broker` passes the latter, and no daemon.
            continue;
        }
        for (const Side side : sides_of(name, Way::kDirect)) {
            if (name != "log.after_open") {
                points.push_back(
                    {.name = std::string(name), .hit = 2, .side = side, .way = Way::kDirect});
            }
            points.push_back({.name = std::string(name),
                              .hit = 1,
                              .side = side,
                              .home = Home::kPostgres,
                              .way = Way::kDirect});
        }
        for (const Side side : sides_of(name, Way::kBroker)) {
            // SQLite's log has no snapshots to store.
            if (name != "log.after_open") {
                points.push_back({std::string(name), 1, side, Home::kSqlite});
                points.push_back({std::string(name), 3, side, Home::kSqlite});
            }
            points.push_back({std::string(name), 2, side, Home::kPostgres});
        }
    }
    return points;
}

std::string name_of(const CrashPoint& point) {
    std::string name = fmt::format(
        "{}_{}_{}{}{}{}", point.name, point.hit, point.side == Side::kOwner ? "owner" : "replicas",
        point.home == Home::kSqlite ? "" : "_postgres",
        point.capture == CaptureBy::kWal ? "_wal" : "", point.way == Way::kBroker ? "" : "_direct");
    std::ranges::replace(name, '.', '_');
    return name;
}

void PrintTo(const CrashPoint& point, std::ostream* out) { *out << name_of(point); }

class CrashPointTest : public CrashFixture, public testing::WithParamInterface<CrashPoint> {
protected:
    CrashPointTest() : CrashFixture(GetParam().home, GetParam().capture, GetParam().way) {}
};

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
    ASSERT_TRUE(work_until([&] { return process(point.side)->has_ended(); }))
        << point.name << " was not passed " << point.hit << " times";
    bury(point.side);
    start(point.side);
    // Few, since a lost change hides behind the next one of its key.
    int more = 10;
    EXPECT_TRUE(work_until([&] { return --more == 0; }));
    without_poison();
    expect_in_step();
}

INSTANTIATE_TEST_SUITE_P(Crash, CrashPointTest, testing::ValuesIn(all_crash_points()),
                         [](const auto& point) { return name_of(point.param); });

/// Where both services are, and how the owner captures.
struct Place {
    Home home = Home::kSqlite;
    CaptureBy capture = CaptureBy::kTriggers;
    Way way = Way::kBroker;
};

std::string name_of(const Place& place) {
    const std::string home = place.home == Home::kSqlite        ? "sqlite"
                             : place.capture == CaptureBy::kWal ? "wal"
                                                                : "postgres";
    return home + (place.way == Way::kBroker ? "" : "_direct");
}

void PrintTo(const Place& place, std::ostream* out) { *out << name_of(place); }

class CrashTest : public CrashFixture, public testing::WithParamInterface<Place> {
protected:
    CrashTest() : CrashFixture(GetParam().home, GetParam().capture, GetParam().way) {}

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
        if (home_ == Home::kPostgres) {
            run_sql(*owner_, "DROP SCHEMA IF EXISTS instep CASCADE");
            run_sql(*owner_, "DROP PUBLICATION IF EXISTS instep_iam");
            run_sql(*owner_,
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
            return;
        }
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

TEST_P(CrashTest, AStormOfKillsLosesNothing) { run_storm(); }

TEST_P(CrashTest, AStormOfKillsAmongRefillsChangesNothing) {
    requests_ = Requests::kRefills;
    run_storm();
}

TEST_P(CrashTest, AnotherProcessTakesOverTheRelayOfAKilledOne) {
    given_live_replicas();
    start(Side::kReplicas);
    start(Side::kOwner);
    const pid_t first = process(Side::kOwner)->id();
    ASSERT_TRUE(work_until([&] { return relaying() == first; }));
    auto second = launch(Side::kOwner);
    ASSERT_TRUE(second->prints("ready"));
    EXPECT_EQ(relaying(), first);
    process(Side::kOwner)->signal(SIGKILL);
    EXPECT_EQ(process(Side::kOwner)->wait().exit, 137);
    EXPECT_TRUE(work_until([&] { return relaying() == second->id(); }));
    process(Side::kOwner) = std::move(second);
    expect_in_step();
}

TEST_P(CrashTest, AnApplyThatIsKilledLeavesAllOfAContractOrNothing) {
    given_services();
    const std::string all = home_ == Home::kSqlite ? "4" : capture_ == CaptureBy::kWal ? "0" : "5";
    std::size_t killed = 0;
    // On a server it takes longer.
    const std::chrono::milliseconds step = home_ == Home::kSqlite ? 2ms : 12ms;
    const std::chrono::milliseconds last = home_ == Home::kSqlite        ? 60ms
                                           : capture_ == CaptureBy::kWal ? 240ms
                                                                         : 120ms;
    for (std::chrono::milliseconds delay = 0ms; delay < last; delay += step) {
        SCOPED_TRACE(fmt::format("killed after {} ms", delay.count()));
        Process apply(INSTEP_PROGRAM, options({"apply", "iam.toml"}));
        std::ignore = eventually([&] { return apply.has_ended(); }, delay);
        apply.signal(SIGKILL);
        killed += apply.wait().exit == 137 ? 1 : 0;

        writer_->write(5);
        const std::string triggers =
            value_of(*owner_, home_ == Home::kSqlite
                                  ? "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"
                                  : "SELECT count(*) FROM pg_trigger WHERE tgname LIKE '0_inst%'");
        EXPECT_TRUE(triggers == "0" || triggers == all) << triggers;
        const Finished again = run({"apply", "iam.toml"});
        EXPECT_EQ(again.exit, 0) << again.err;
        EXPECT_EQ(run({"plan", "iam.toml", "--check"}).exit, 0);
        without_instep();
    }
    EXPECT_GT(killed, 0U);
}

class ServerCrashTest : public CrashFixture, public testing::WithParamInterface<Place> {
protected:
    ServerCrashTest() : CrashFixture(GetParam().home, GetParam().capture) {}

    /// Whoever cannot start without the server says so and ends.
    void given_both_ready() {
        for (const Side side : {Side::kReplicas, Side::kOwner}) {
            start(side);
            ASSERT_TRUE(process(side)->prints("ready"));
        }
    }

    /// With the connections of this test, which have nothing open at the time.
    void crash_server() {
        server_->stop_immediately();
        server_->start();
        for (Connection* connection : {owner_.get(), replicas_.get()}) {
            EXPECT_TRUE(eventually(
                [&] { return connection->now() && connection->execute_script("SELECT 1"); }));
        }
        forget_what_was_seen();
    }
};

TEST_P(ServerCrashTest, CrashesOfTheServerLoseNothing) {
    given_live_replicas();
    given_both_ready();
    for (int crashes = 0; crashes < 4; ++crashes) {
        std::ignore = work_until([] { return false; }, 300ms);
        crash_server();
    }
    int more = 10;
    EXPECT_TRUE(work_until([&] { return --more == 0; }));
    expect_in_step();
}

TEST_P(ServerCrashTest, EndedConnectionsLoseNothing) {
    given_live_replicas();
    given_both_ready();
    for (int times = 0; times < 15; ++times) {
        std::ignore = work_until([] { return false; }, 100ms);
        // Those of this test among them, if they are not the one that asks.
        run_sql(*owner_,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'iam' AND "
                "pid <> pg_backend_pid()");
    }
    int more = 10;
    EXPECT_TRUE(work_until([&] { return --more == 0; }));
    expect_in_step();
}

class WalCrashTest : public CrashFixture {
protected:
    WalCrashTest() : CrashFixture(Home::kPostgres, CaptureBy::kWal) {}
};

TEST_F(WalCrashTest, AReaderThatDiesBehindANewSlotLosesNothing) {
    given_live_replicas();
    run_sql(*owner_, "SELECT pg_drop_replication_slot('instep_iam')");
    // Nothing brings these but a new epoch.
    writer_->write(200);
    start(Side::kReplicas);
    start(Side::kOwner, "wal.after_new_slot=crash");
    ASSERT_TRUE(work_until([&] { return process(Side::kOwner)->has_ended(); }));
    bury(Side::kOwner);
    start(Side::kOwner);
    expect_in_step();
    EXPECT_EQ(value_of(*owner_, "SELECT epoch > 1 FROM instep.log_identity"), "1");
}

TEST_F(WalCrashTest, ASwitchThatDiesBehindItsSlotIsMadeByTheNextOne) {
    given_services();
    ProcessOptions dies = options({"apply", "iam.toml", "data_owner.toml"});
    dies.environment = {{"INSTEP_FAIL", "wal.before_switch=crash"}};
    EXPECT_EQ(run_process(INSTEP_PROGRAM, dies).exit, 137);
    EXPECT_EQ(value_of(*owner_, "SELECT count(*) FROM pg_replication_slots"), "1");
    writer_->write(50);
    const Finished applied = run({"apply", "iam.toml", "data_owner.toml"});
    ASSERT_EQ(applied.exit, 0) << applied.err;
    replicas_ = open("data_owner");
    start(Side::kReplicas);
    start(Side::kOwner);
    writer_->write(50);
    expect_in_step();
}

TEST_F(WalCrashTest, AWaitKnowsOfChangesThatNobodyHasReadYet) {
    given_live_replicas();
    const std::vector<std::string> wait = {"wait",        "iam.toml",  "data_owner.toml",
                                           "--caught-up", "--timeout", "2s"};
    writer_->write(10);
    const Finished waited = run(wait);
    EXPECT_EQ(waited.exit, 124);
    EXPECT_NE(waited.err.find("bytes of WAL behind"), std::string::npos) << waited.err;
    start(Side::kReplicas);
    start(Side::kOwner);
    expect_in_step();
}

INSTANTIATE_TEST_SUITE_P(On, CrashTest,
                         testing::Values(Place{Home::kSqlite}, Place{Home::kPostgres},
                                         Place{Home::kPostgres, CaptureBy::kWal},
                                         Place{.home = Home::kSqlite, .way = Way::kDirect},
                                         Place{.home = Home::kPostgres, .way = Way::kDirect}),
                         [](const auto& on) { return name_of(on.param); });

INSTANTIATE_TEST_SUITE_P(On, ServerCrashTest,
                         testing::Values(Place{Home::kPostgres},
                                         Place{Home::kPostgres, CaptureBy::kWal}),
                         [](const auto& on) { return name_of(on.param); });

}  // namespace
}  // namespace instep::test
