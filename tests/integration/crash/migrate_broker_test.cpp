// Taking running services from one broker to another, with writers that go on and crashes of
// everything that takes part.
#include "tests/integration/crash/crash_fixture.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <tuple>

namespace instep::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class Migrating : public CrashFixture {
protected:
    explicit Migrating(Home home) : CrashFixture(home) {}

    [[nodiscard]] std::unique_ptr<Process> migrate(const std::string& fail = "") const {
        ProcessOptions command = options({"migrate-broker", "iam.toml", "data_owner.toml", "--to",
                                          "embedded:new.db", "--timeout", "2m"});
        command.environment = {{"INSTEP_FAIL", fail}};
        return std::make_unique<Process>(INSTEP_PROGRAM, command);
    }

    /// Writers go on meanwhile.
    void migrate_while_writing() {
        const auto command = migrate();
        EXPECT_TRUE(work_until([&] { return command->has_ended(); }));
        const Finished done = command->wait();
        EXPECT_EQ(done.exit, 0) << done.err;
    }

    [[nodiscard]] std::string newest_in(const std::string& broker,
                                        const std::string& source = "%") const {
        return value_of(*open(broker),
                        fmt::format("SELECT coalesce(max(published_us), 0) FROM instep_message "
                                    "WHERE source LIKE '{}'",
                                    source));
    }

    /// The backfills that were asked for; a change that was lost hides behind one.
    [[nodiscard]] std::vector<std::string> backfills() const {
        return rows_of(*replicas_, "SELECT table_name, backfill FROM instep_replica ORDER BY 1");
    }

    void expect_stage(const std::string& stage) const {
        for (Connection* database : {owner_.get(), replicas_.get()}) {
            EXPECT_EQ(value_of(*database, "SELECT stage FROM instep_broker_move"), stage);
        }
    }

    void expect_relayed() const {
        EXPECT_TRUE(eventually([&] {
            return run({"status", "iam.toml", "--json"})
                       .out.find("\"relay\":{\"lag_events\":\"0\"") != std::string::npos;
        }));
    }

    void write_some_more() {
        int more = 10;
        EXPECT_TRUE(work_until([&] { return --more == 0; }));
    }
};

class MigrateBrokerTest : public Migrating, public testing::WithParamInterface<Home> {
protected:
    MigrateBrokerTest() : Migrating(GetParam()) {}
};

TEST_P(MigrateBrokerTest, TakesRunningServicesOver) {
    given_live_replicas();
    const auto filled = backfills();
    start(Side::kOwner);
    start(Side::kReplicas);
    std::ignore = work_until([] { return false; }, 300ms);
    migrate_while_writing();
    expect_stage("moved");
    // What was under way to the old one is not confirmed there, and has come by the new one, once
    // both publish there.
    for (const std::string source : {"iam", "data-owner"}) {
        const std::string arrived = newest_in("new", source);
        EXPECT_TRUE(work_until([&] { return newest_in("new", source) != arrived; })) << source;
    }
    const std::string left_behind = newest_in("broker");
    write_some_more();
    expect_in_step();
    EXPECT_EQ(newest_in("broker"), left_behind);
    EXPECT_EQ(backfills(), filled);

    // The files name the new broker from now on.
    write_files("embedded:new.db", "embedded:new.db");
    start(Side::kOwner);
    start(Side::kReplicas);
    write_some_more();
    expect_in_step();
    EXPECT_EQ(backfills(), filled);
}

TEST_P(MigrateBrokerTest, WaitsForServicesThatDoNotRun) {
    given_live_replicas();
    writer_->write(50);
    start(Side::kOwner);
    expect_relayed();
    ProcessOptions command = options({"migrate-broker", "iam.toml", "data_owner.toml", "--to",
                                      "embedded:new.db", "--timeout", "1s"});
    // Each goes on where the one before ended.
    Finished late;
    EXPECT_TRUE(eventually([&] {
        late = run_process(INSTEP_PROGRAM, command);
        return late.err.contains("are left for data-owner.lookup_items");
    })) << late.err;
    EXPECT_EQ(late.exit, 124);
    start(Side::kReplicas);
    migrate_while_writing();
    write_some_more();
    expect_in_step();
}

TEST_P(MigrateBrokerTest, LeavesNobodyBehind) {
    given_live_replicas();
    for (const char* file : {"iam.toml", "data_owner.toml"}) {
        const Finished refused = run({"migrate-broker", file, "--to", "embedded:new.db"});
        EXPECT_EQ(refused.exit, 6) << refused.err;
        EXPECT_THAT(refused.err, HasSubstr("file"));
    }
    const Finished secret =
        run({"migrate-broker", "iam.toml", "data_owner.toml", "--to", "redis://:hush@localhost"});
    EXPECT_EQ(secret.exit, 2) << secret.err;
    EXPECT_THAT(secret.err, testing::Not(HasSubstr("hush")));
    EXPECT_EQ(value_of(*owner_, "SELECT count(*) FROM instep_broker_move"), "0");
}

TEST_P(MigrateBrokerTest, RefusesAFileThatNamesTheNewBrokerTooEarly) {
    given_live_replicas();
    writer_->write(50);
    start(Side::kOwner);
    // It reads its file when it starts.
    expect_relayed();
    const auto command = migrate("move.after_publishing=crash@2");
    EXPECT_TRUE(work_until([&] { return command->has_ended(); }));
    write_files("embedded:new.db", "embedded:new.db");
    const Finished refused = run({"run", "data_owner.toml"});
    EXPECT_EQ(refused.exit, 3) << refused.err;
    EXPECT_THAT(refused.err, HasSubstr("until `instep migrate-broker` has ended"));
    write_files("embedded:broker.db", "embedded:broker.db");
    start(Side::kReplicas);
    migrate_while_writing();
    expect_in_step();
}

/// Where the command is killed.
struct MoveCrash {
    Home home = Home::kSqlite;
    std::string point;
    int hit = 1;
};

void PrintTo(const MoveCrash& crash, std::ostream* out) { *out << crash.point << '@' << crash.hit; }

class MigrateBrokerCrashTest : public Migrating, public testing::WithParamInterface<MoveCrash> {
protected:
    MigrateBrokerCrashTest() : Migrating(GetParam().home) {}
};

TEST_P(MigrateBrokerCrashTest, GoesOnWhereEverythingWasKilled) {
    given_live_replicas();
    const auto filled = backfills();
    start(Side::kOwner);
    start(Side::kReplicas);
    std::ignore = work_until([] { return false; }, 100ms);
    const auto killed = migrate(fmt::format("{}=crash@{}", GetParam().point, GetParam().hit));
    EXPECT_TRUE(work_until([&] { return killed->has_ended(); }));
    EXPECT_EQ(killed->wait().exit, 137);
    kill(Side::kOwner);
    kill(Side::kReplicas);
    start(Side::kReplicas);
    start(Side::kOwner);
    std::ignore = work_until([] { return false; }, 100ms);
    migrate_while_writing();
    expect_stage("moved");
    write_some_more();
    expect_in_step();
    EXPECT_EQ(backfills(), filled);
}

INSTANTIATE_TEST_SUITE_P(At, MigrateBrokerCrashTest,
                         testing::Values(MoveCrash{Home::kSqlite, "move.after_subscribe"},
                                         MoveCrash{Home::kSqlite, "move.after_prepare"},
                                         MoveCrash{Home::kSqlite, "move.after_publishing"},
                                         MoveCrash{Home::kSqlite, "move.after_publishing", 2},
                                         MoveCrash{Home::kSqlite, "move.after_moved"},
                                         MoveCrash{Home::kPostgres, "move.after_publishing"},
                                         MoveCrash{Home::kPostgres, "move.after_moved"}),
                         [](const auto& crash) {
                             std::string name =
                                 fmt::format("{}_{}{}", crash.param.point, crash.param.hit,
                                             crash.param.home == Home::kSqlite ? "" : "_postgres");
                             std::ranges::replace(name, '.', '_');
                             return name;
                         });

INSTANTIATE_TEST_SUITE_P(On, MigrateBrokerTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         [](const auto& on) {
                             return on.param == Home::kSqlite ? "sqlite" : "postgres";
                         });

}  // namespace
}  // namespace instep::test
