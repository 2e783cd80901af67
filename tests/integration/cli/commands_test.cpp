#include "tests/integration/cli/cli_fixture.hpp"
#include "tests/support/eventually.hpp"

#include <nlohmann/json.hpp>

#include <csignal>
#include <fstream>
#include <regex>

namespace instep::test {
namespace {

class CommandsTest : public CliTest {
protected:
    /// A line of a table or a sentence that holds all of `words`.
    static testing::AssertionResult has_line(const std::string& text,
                                             const std::vector<std::string>& words) {
        for (std::size_t begin = 0; begin < text.size();) {
            const std::size_t end = std::min(text.find('\n', begin), text.size());
            const std::string line = text.substr(begin, end - begin);
            const auto holds = [&line](const std::string& word) {
                return line.find(word) != std::string::npos;
            };
            if (std::ranges::all_of(words, holds)) {
                return testing::AssertionSuccess();
            }
            begin = end + 1;
        }
        return testing::AssertionFailure() << "no such line in:\n" << text;
    }
};

TEST_F(CommandsTest, InitWritesAFileThatLoads) {
    const Finished init = run({"init", "--name", "iam"});
    EXPECT_EQ(init.exit, 0) << init.err;
    const Finished check = run({"check", "iam.toml"});
    EXPECT_EQ(check.exit, 0) << check.out << check.err;
}

TEST_F(CommandsTest, InitTellsWhereTheFileIs) {
    const auto init = run_json({"init", "--name", "iam"}, "instep.init/1");
    EXPECT_EQ(init["file"], "iam.toml");
}

TEST_F(CommandsTest, PlanShowsSqlAndChangesNothing) {
    given_services();
    const Finished first = run({"plan", "iam.toml", "data_owner.toml"});
    EXPECT_EQ(first.exit, 0) << first.err;
    EXPECT_NE(first.out.find("CREATE TRIGGER"), std::string::npos);
    EXPECT_EQ(run({"plan", "iam.toml", "data_owner.toml"}).out, first.out);
    EXPECT_EQ(value("iam.db", "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"), "0");
}

TEST_F(CommandsTest, ApplyDoesWhatPlanShows) {
    given_services();
    const auto plan = run_json({"plan", "iam.toml", "data_owner.toml"}, "instep.plan/1");
    const auto apply = run_json({"apply", "iam.toml", "data_owner.toml"}, "instep.apply/1");
    EXPECT_EQ(plan["services"][0], apply["services"][0]);
    EXPECT_NE(apply["count"], "0");
    EXPECT_EQ(run_json({"plan", "iam.toml", "data_owner.toml"}, "instep.plan/1")["count"], "0");
}

TEST_F(CommandsTest, ApplyTwiceHasNothingToDo) {
    given_applied_services();
    const Finished again = run({"apply", "iam.toml", "data_owner.toml"});
    EXPECT_EQ(again.exit, 0);
    EXPECT_EQ(again.out, "");
    EXPECT_NE(again.err.find("Nothing to do"), std::string::npos);
}

TEST_F(CommandsTest, ApplyChangesNoServiceIfOneOfThemIsRefused) {
    given_services();
    given_file("data_owner.toml",
               "[service]\nname = \"data-owner\"\ndatabase = \"sqlite:data_owner.db\"\n"
               "broker = \"embedded:broker.db\"\n"
               "[[replica]]\ntopic = \"iam.user\"\ntable = \"lookup_users\"\n"
               "columns = [\"id\", \"salary\"]\n");
    ASSERT_EQ(run({"apply", "data_owner.toml"}).exit, 0);
    const Finished refused = run({"apply", "iam.toml", "data_owner.toml"});
    EXPECT_EQ(refused.exit, 3) << refused.err;
    EXPECT_EQ(value("iam.db", "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'instep*'"), "0");
}

TEST_F(CommandsTest, CheckFindsNothingWrongAfterApply) {
    given_applied_services();
    const Finished check = run({"check", "iam.toml", "data_owner.toml"});
    EXPECT_EQ(check.exit, 0) << check.out << check.err;
    EXPECT_NE(check.out.find("No problems in 2 services."), std::string::npos);
}

TEST_F(CommandsTest, CheckSaysWhatIsWrongAndHowToFixIt) {
    given_services();
    const auto check = run_json({"check", "iam.toml"}, "instep.check/1");
    EXPECT_EQ(check["sound"], false);
    bool fixable = false;
    for (const auto& finding : check["findings"]) {
        fixable = fixable ||
                  (finding["severity"] == "problem" && !finding["fix"].get<std::string>().empty());
    }
    EXPECT_TRUE(fixable) << check.dump(2);
}

TEST_F(CommandsTest, RunKeepsAReplicaInStep) {
    given_applied_services();
    Process daemon(INSTEP_PROGRAM, options({"run", "iam.toml", "data_owner.toml"}));
    ASSERT_TRUE(daemon.prints("ready: iam, data-owner\n"));
    sql("iam.db", "UPDATE users SET username = 'ada.l' WHERE id = 1; DELETE FROM users WHERE id=2");
    const Finished waited = run({"wait", "iam.toml", "data_owner.toml", "--caught-up"});
    EXPECT_EQ(waited.exit, 0) << waited.err;
    EXPECT_EQ(waited.out, "The replica is caught up.\n");
    EXPECT_EQ(value("data_owner.db",
                    "SELECT group_concat(username) FROM "
                    "(SELECT username FROM lookup_users ORDER BY id)"),
              "ada.l,eve");
    EXPECT_EQ(run({"status", "iam.toml", "data_owner.toml", "--check"}).exit, 0);
}

TEST_F(CommandsTest, RunAppliesFirstIfAsked) {
    given_services();
    Process daemon(INSTEP_PROGRAM, options({"run", "iam.toml", "--apply", "--json"}));
    ASSERT_TRUE(daemon.prints("\n"));
    daemon.signal(SIGTERM);
    const Finished finished = daemon.wait();
    const auto ready = nlohmann::json::parse(finished.out);
    EXPECT_EQ(ready["schema"], "instep.run/1");
    EXPECT_EQ(ready["event"], "ready");
    EXPECT_EQ(ready["services"], nlohmann::json({"iam"}));
}

TEST_F(CommandsTest, RunLogsJsonLinesOnRequest) {
    given_applied_services();
    Process daemon(INSTEP_PROGRAM,
                   options({"run", "iam.toml", "--log-format", "json", "--log-level", "debug"}));
    ASSERT_TRUE(daemon.prints("ready"));
    daemon.signal(SIGTERM);
    const Finished finished = daemon.wait();
    for (std::size_t begin = 0; begin < finished.err.size();) {
        const std::size_t end = finished.err.find('\n', begin);
        EXPECT_TRUE(nlohmann::json::accept(finished.err.substr(begin, end - begin)));
        begin = end + 1;
    }
}

TEST_F(CommandsTest, StatusBeginsWithOneSentence) {
    given_filled_replica();
    const Finished status = run({"status", "iam.toml", "data_owner.toml"});
    EXPECT_EQ(status.exit, 0) << status.err;
    EXPECT_TRUE(status.out.starts_with("The replica is caught up.\n")) << status.out;
    EXPECT_TRUE(has_line(status.out, {"data-owner.lookup_users", "caught up"}));
    EXPECT_TRUE(has_line(status.out, {"relay of iam", "caught up"}));
}

TEST_F(CommandsTest, StatusTellsWhatNobodyRelays) {
    given_filled_replica();
    sql("iam.db", "UPDATE users SET email = 'new@example.org'");
    const auto status = run_json({"status", "iam.toml", "data_owner.toml"}, "instep.status/1");
    EXPECT_EQ(status["healthy"], false);
    EXPECT_EQ(status["caught_up"], false);
    EXPECT_EQ(status["services"][0]["relay"]["lag_events"], "3");
    EXPECT_TRUE(status["services"][0]["relay"]["holder"].is_null());
    EXPECT_EQ(status["services"][1]["replicas"][0]["state"], "live");
}

TEST_F(CommandsTest, TailPrintsWhatTheLogHolds) {
    given_applied_services();
    sql("iam.db", "UPDATE users SET username = 'bob.m' WHERE id = 2");
    const Finished tail = run({"tail", "iam.toml", "--from-start", "--count", "1"});
    EXPECT_EQ(tail.exit, 0) << tail.err;
    EXPECT_TRUE(has_line(tail.out, {"iam.user", "user.updated", "bob.m"}));
    EXPECT_EQ(tail.out.find("password_hash"), std::string::npos);
}

TEST_F(CommandsTest, TailPrintsEventsAsTheyCome) {
    given_applied_services();
    sql("iam.db", "DELETE FROM users WHERE id = 3");
    Process tail(INSTEP_PROGRAM, options({"tail", "iam.toml", "--count", "1", "--json"}));
    EXPECT_TRUE(eventually([&] {
        sql("iam.db", "UPDATE users SET username = username || 'x' WHERE id = 1");
        return tail.prints("\n", std::chrono::milliseconds(200));
    }));
    const Finished finished = tail.wait();
    const auto event = nlohmann::json::parse(finished.out);
    EXPECT_EQ(event["specversion"], "1.0");
    EXPECT_EQ(event["type"], "user.updated");
    EXPECT_EQ(event["source"], "iam");
}

TEST_F(CommandsTest, TailShowsOneTopicIfAsked) {
    given_filled_replica();
    sql("data_owner.db", "CREATE TABLE other (id INTEGER PRIMARY KEY)");
    const Finished tail =
        run({"tail", "data_owner.toml", "--from-start", "--count", "1", "--topic", "iam.requests"});
    EXPECT_TRUE(has_line(tail.out, {"iam.requests", "scan.requested"}));
}

TEST_F(CommandsTest, ExplainShowsTheRowAndItsVersion) {
    given_filled_replica();
    const auto row =
        run_json({"explain", "data_owner.toml", "lookup_users", "1"}, "instep.explain/1");
    EXPECT_EQ(row["row"]["username"], "ada");
    EXPECT_TRUE(row["version"].is_string());
    EXPECT_TRUE(row["deleted_at"].is_null());
    const Finished shown = run({"explain", "data_owner.toml", "lookup_users", "1"});
    EXPECT_TRUE(has_line(shown.out, {"username", "ada"}));
}

TEST_F(CommandsTest, ExplainKnowsThatARowWasDeleted) {
    given_filled_replica();
    sql("iam.db", "DELETE FROM users WHERE id = 3");
    ASSERT_EQ(run({"verify", "iam.toml", "data_owner.toml"}).exit, 0);
    const Finished shown = run({"explain", "data_owner.toml", "lookup_users", "3"});
    EXPECT_EQ(shown.exit, 0);
    EXPECT_NE(shown.out.find("The owner deleted it"), std::string::npos) << shown.out;
}

TEST_F(CommandsTest, AParkedKeyIsShownExplainedAndNamedAsTheObstacle) {
    given_filled_replica();
    sql("data_owner.db",
        "CREATE TRIGGER refuse BEFORE INSERT ON lookup_users WHEN NEW.id = 1 "
        "BEGIN SELECT RAISE(ABORT, 'one is refused'); END");
    sql("iam.db", "UPDATE users SET email = 'new' WHERE id = 1");
    Process daemon(INSTEP_PROGRAM, options({"run", "iam.toml", "data_owner.toml"}));
    // What the daemon says of it comes before it is committed.
    Finished status;
    EXPECT_TRUE(eventually([&] {
        status = run({"status", "iam.toml", "data_owner.toml", "--check"});
        return status.out.starts_with("data-owner.lookup_users has 1 parked key.\n");
    })) << status.out;
    EXPECT_EQ(status.exit, 8);
    EXPECT_TRUE(has_line(status.out, {"1", "data-owner.lookup_users", "one is refused"}));
    const Finished explain = run({"explain", "data_owner.toml", "lookup_users", "1"});
    EXPECT_TRUE(has_line(explain.out, {"parked", "1 event", "one is refused"}));
    const Finished repair = run({"repair", "data_owner.toml", "--timeout", "1s"});
    EXPECT_EQ(repair.exit, 124);
    EXPECT_NE(repair.err.find("one is refused"), std::string::npos) << repair.err;
}

TEST_F(CommandsTest, BackfillBringsAllRowsAgain) {
    given_filled_replica();
    sql("data_owner.db", "DELETE FROM lookup_users");
    const auto backfill =
        run_json({"backfill", "iam.toml", "data_owner.toml", "lookup_users"}, "instep.backfill/1");
    EXPECT_EQ(backfill["replicas"][0]["rows"], "3");
    EXPECT_EQ(value("data_owner.db", "SELECT count(*) FROM lookup_users"), "3");
}

TEST_F(CommandsTest, VerifyListsWhatDiffersAndRepairMakesItEqual) {
    given_filled_replica();
    sql("data_owner.db",
        "UPDATE lookup_users SET email = 'wrong' WHERE id = 1; DELETE FROM lookup_users WHERE "
        "id = 2");
    const Finished verify = run({"verify", "iam.toml", "data_owner.toml"});
    EXPECT_EQ(verify.exit, 8);
    EXPECT_TRUE(has_line(verify.out, {"data-owner.lookup_users", "1", "different"}));
    EXPECT_TRUE(has_line(verify.out, {"data-owner.lookup_users", "2", "missing"}));

    const Finished repair = run({"repair", "iam.toml", "data_owner.toml"});
    EXPECT_EQ(repair.exit, 0) << repair.out << repair.err;
    EXPECT_EQ(run({"verify", "iam.toml", "data_owner.toml"}).exit, 0);
    EXPECT_EQ(value("data_owner.db", "SELECT email FROM lookup_users WHERE id = 1"),
              "ada@example.org");
}

TEST_F(CommandsTest, VerifyAndRepairTellTheSameAsJson) {
    given_filled_replica();
    sql("data_owner.db", "DELETE FROM lookup_users WHERE id = 2");
    const auto verify = run_json({"verify", "iam.toml", "data_owner.toml"}, "instep.verify/1");
    EXPECT_EQ(verify["equal"], false);
    EXPECT_EQ(verify["replicas"][0]["differences"], "1");
    EXPECT_EQ(verify["replicas"][0]["keys"][0]["kind"], "missing");
    const auto repair = run_json({"repair", "iam.toml", "data_owner.toml"}, "instep.repair/1");
    EXPECT_EQ(repair["repaired"], true);
    EXPECT_EQ(repair["replicas"][0]["repaired"], "1");
}

TEST_F(CommandsTest, VerifyWorksBesideADaemon) {
    given_applied_services();
    Process daemon(INSTEP_PROGRAM, options({"run", "iam.toml", "data_owner.toml"}));
    ASSERT_TRUE(daemon.prints("ready"));
    const Finished verify = run({"verify", "data_owner.toml"});
    EXPECT_EQ(verify.exit, 0) << verify.out << verify.err;
}

/// The first command of docs/reference/brokers.md that speaks of broker.db.
std::string documented_removal() {
    std::ifstream page(INSTEP_SOURCE_DIR "/docs/reference/brokers.md");
    std::string command;
    for (std::string line; std::getline(page, line);) {
        if (line.starts_with("$ sqlite3 broker.db")) {
            command = line.substr(2) + "\n";
        } else if (!command.empty() && line.starts_with("> ")) {
            command += line.substr(2) + "\n";
        } else if (!command.empty()) {
            break;
        }
    }
    return command;
}

TEST_F(CommandsTest, ASubscriptionThatWasTakenAwayIsNoMoreBehind) {
    given_filled_replica();
    sql("iam.db", "DELETE FROM users WHERE id = 2");
    Process owner(INSTEP_PROGRAM, options({"run", "iam.toml"}));
    const auto summary = [this] {
        return run_json({"status", "iam.toml"}, "instep.status/1")["summary"].get<std::string>();
    };
    EXPECT_TRUE(eventually([&] { return summary().starts_with("data-owner.lookup_users is 1"); }));
    const std::string command =
        std::regex_replace(documented_removal(), std::regex("billing[.]"), "data-owner.");
    EXPECT_EQ(run_process("/bin/sh", options({"-c", command})).exit, 0) << command;
    EXPECT_EQ(summary(), "Everything is caught up.");
    sql("iam.db", "DELETE FROM users WHERE id = 3");
    EXPECT_EQ(run({"wait", "iam.toml", "--caught-up", "--timeout", "2m"}).exit, 0);
}

TEST_F(CommandsTest, WaitReturnsOnceAllIsCaughtUp) {
    given_filled_replica();
    const auto wait =
        run_json({"wait", "iam.toml", "data_owner.toml", "--caught-up"}, "instep.wait/1");
    EXPECT_EQ(wait["caught_up"], true);
}

}  // namespace
}  // namespace instep::test
