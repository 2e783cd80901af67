#include "instep/db/sqlite/database.hpp"
#include "tests/integration/cli/cli_fixture.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>

namespace instep::test {
namespace {

class ExitCodesTest : public CliTest {
protected:
    /// One sentence on stderr that says all of `words`, nothing on stdout, and the code.
    void expect_error(const std::vector<std::string>& arguments, int exit,
                      const std::vector<std::string>& words) const {
        const Finished finished = run(arguments);
        EXPECT_EQ(finished.exit, exit) << finished.err;
        EXPECT_EQ(finished.out, "");
        EXPECT_TRUE(finished.err.starts_with("instep: ")) << finished.err;
        EXPECT_EQ(finished.err.find('\n'), finished.err.size() - 1) << finished.err;
        for (const std::string& word : words) {
            EXPECT_NE(finished.err.find(word), std::string::npos) << word << ": " << finished.err;
        }
    }
};

TEST_F(ExitCodesTest, AFileThatIsNoDatabaseIsOne) {
    given_services();
    given_file("iam.db", std::string(4096, 'x'));
    expect_error({"apply", "iam.toml"}, 1, {"iam.db"});
}

TEST_F(ExitCodesTest, OutputThatCannotBeWrittenIsOne) {
    const Finished finished =
        run_process("/bin/sh", options({"-c", INSTEP_PROGRAM " version > /dev/full"}));
    EXPECT_EQ(finished.exit, 1);
    EXPECT_NE(finished.err.find("cannot write to stdout"), std::string::npos) << finished.err;
}

TEST_F(ExitCodesTest, ANameThatNoServiceCanHaveIsTwoAndWritesNothing) {
    expect_error({"init", "--name", "../iam"}, 2, {"../iam"});
    expect_error({"init", "--name", "a\"b"}, 2, {"a\"b"});
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(ExitCodesTest, TheSameServiceTwiceIsTwo) {
    given_services();
    expect_error({"status", "iam.toml", "iam.toml"}, 2, {"iam"});
}

TEST_F(ExitCodesTest, AnUnknownKeyIsThreeWithItsPlace) {
    given_file("iam.toml", "[service]\nname = \"iam\"\ndatabse = \"sqlite:iam.db\"\n");
    expect_error({"check", "iam.toml"}, 3, {"iam.toml:3:1", "databse", "database"});
}

TEST_F(ExitCodesTest, TextThatIsNoTomlIsThreeWithItsPlace) {
    given_file("iam.toml", "[service\n");
    expect_error({"plan", "iam.toml"}, 3, {"iam.toml:1:"});
}

TEST_F(ExitCodesTest, RunBeforeApplyIsThreeAndSaysSo) {
    given_services();
    expect_error({"run", "iam.toml"}, 3, {"instep apply"});
}

TEST_F(ExitCodesTest, RunAfterAChangeOfTheContractIsThreeAndSaysSo) {
    given_applied_services();
    given_file("iam.toml",
               "[service]\nname = \"iam\"\ndatabase = \"sqlite:iam.db\"\n"
               "broker = \"embedded:broker.db\"\n[[publish]]\ntable = \"users\"\n"
               "entity = \"user\"\nkey = \"id\"\ncolumns = [\"id\"]\n");
    expect_error({"run", "iam.toml"}, 3, {"instep apply"});
}

TEST_F(ExitCodesTest, ADatabaseOfANewerProgramIsThree) {
    given_applied_services();
    sql("iam.db", "INSERT INTO instep_migration VALUES (999, 'future', '', 0)");
    expect_error({"apply", "iam.toml"}, 3, {"newer program"});
}

TEST_F(ExitCodesTest, ALockedDatabaseIsFour) {
    given_services();
    const auto database = open_sqlite(folder_.file("iam.db"), clock_);
    const auto connection = *(*database)->connect();
    const auto lock = Transaction::begin(*connection, TransactionMode::kWrite);
    ASSERT_TRUE(lock);
    expect_error({"apply", "iam.toml"}, 4, {"iam.db"});
}

TEST_F(ExitCodesTest, AMissingFileIsFive) {
    expect_error({"status", "none.toml"}, 5, {"none.toml"});
}

TEST_F(ExitCodesTest, AMissingDatabaseIsFive) {
    given_services();
    std::filesystem::remove(folder_.file("iam.db"));
    expect_error({"apply", "iam.toml"}, 5, {"iam.db does not exist; check the path\n"});
}

TEST_F(ExitCodesTest, EveryCommandBeforeApplyIsThreeAndSaysSo) {
    given_services();
    given_file("data_owner.db", "");
    const std::vector<std::vector<std::string>> commands = {
        {"scans", "iam.toml"},
        {"tail", "iam.toml", "--count", "0"},
        {"status", "iam.toml"},
        {"explain", "data_owner.toml", "lookup_users", "1"},
        {"deadletters", "list", "data_owner.toml"},
        {"pause", "data_owner.toml", "lookup_users"},
        {"resume", "data_owner.toml", "lookup_users"},
        {"verify", "data_owner.toml"},
        {"migrate-broker", "iam.toml", "--to", "embedded:new.db"},
    };
    for (const auto& command : commands) {
        expect_error(command, 3, {"run `instep apply`"});
    }
}

TEST_F(ExitCodesTest, TwoThingsToDoWithScansAreTwo) {
    given_applied_services();
    expect_error({"scans", "iam.toml", "--pause", "a", "--resume", "b"}, 2, {"--pause, --resume"});
}

TEST_F(ExitCodesTest, AMissingFolderOfTheBrokerIsFive) {
    given_services();
    given_file("iam.toml",
               "[service]\nname = \"iam\"\ndatabase = \"sqlite:iam.db\"\n"
               "broker = \"embedded:none/broker.db\"\n");
    ASSERT_EQ(run({"apply", "iam.toml"}).exit, 0);
    expect_error({"run", "iam.toml"}, 5, {"none/broker.db", "create its directory"});
}

TEST_F(ExitCodesTest, AnUnknownTableOrColumnIsFiveWithTheNearest) {
    given_services();
    sql("iam.db", "ALTER TABLE users RENAME TO user_s");
    expect_error({"apply", "iam.toml"}, 5, {"users", "user_s"});
    sql("iam.db", "ALTER TABLE user_s RENAME TO users; ALTER TABLE users RENAME email TO e_mail");
    expect_error({"apply", "iam.toml"}, 5, {"email", "e_mail"});
}

TEST_F(ExitCodesTest, AnUnknownReplicaIsFiveWithTheNearest) {
    given_filled_replica();
    expect_error({"explain", "data_owner.toml", "lookup_user", "1"}, 5, {"lookup_users"});
    expect_error({"verify", "data_owner.toml", "--table", "lookup_user"}, 5, {"lookup_users"});
}

TEST_F(ExitCodesTest, AKeyThatNeverArrivedIsFive) {
    given_filled_replica();
    const Finished finished = run({"explain", "data_owner.toml", "lookup_users", "999"});
    EXPECT_EQ(finished.exit, 5);
    EXPECT_NE(finished.out.find("No event of this key has arrived"), std::string::npos);
}

TEST_F(ExitCodesTest, AnotherNumberOfPartitionsIsSixAndLeavesNoCursorBehind) {
    given_filled_replica();
    given_file("iam.toml",
               "[service]\nname = \"iam\"\ndatabase = \"sqlite:iam.db\"\n"
               "broker = \"embedded:broker.db\"\npartitions = 2\n"
               "[[publish]]\ntable = \"users\"\nentity = \"user\"\n"
               "columns = [\"id\", \"username\", \"email\"]\npersonal = [\"email\"]\n");
    for (const char* command : {"plan", "apply", "run"}) {
        expect_error({command, "iam.toml"}, 6, {"for 1 partitions, not 2"});
    }
    EXPECT_EQ(value("iam.db", "SELECT count(*) FROM instep_cursor"), "1");
}

TEST_F(ExitCodesTest, AFileThatExistsIsSixAndStays) {
    given_file("iam.toml", "mine");
    expect_error({"init", "--name", "iam"}, 6, {"iam.toml"});
    EXPECT_EQ(std::filesystem::file_size(folder_.file("iam.toml")), 4U);
}

TEST_F(ExitCodesTest, WhatACheckFindsIsEight) {
    given_services();
    EXPECT_EQ(run({"check", "iam.toml"}).exit, 8);
    EXPECT_EQ(run({"plan", "iam.toml", "--check"}).exit, 8);
    ASSERT_EQ(run({"apply", "iam.toml"}).exit, 0);
    sql("iam.db", "UPDATE users SET username = 'x' WHERE id = 1");
    EXPECT_EQ(run({"status", "iam.toml", "--check"}).exit, 8);
    EXPECT_EQ(run({"status", "iam.toml"}).exit, 0);
}

TEST_F(ExitCodesTest, WhatIsNotDoneInTimeIs124AndSaysWhatIsMissing) {
    given_filled_replica();
    sql("iam.db", "UPDATE users SET username = 'x' WHERE id = 1");
    expect_error({"wait", "iam.toml", "--caught-up", "--timeout", "10ms"}, 124,
                 {"relay of iam", "no holder"});
    expect_error({"verify", "data_owner.toml", "--timeout", "100ms"}, 124,
                 {"service iam", "give its file too"});
    expect_error({"backfill", "data_owner.toml", "lookup_users", "--timeout", "100ms"}, 124,
                 {"service iam"});
}

TEST_F(ExitCodesTest, ErrorsAreJsonOnRequest) {
    const auto error = run_json({"status", "none.toml"}, "instep.error/1");
    EXPECT_EQ(error["code"], "not_found");
    EXPECT_EQ(error["exit"], 5);
    EXPECT_NE(error["message"].get<std::string>().find("none.toml"), std::string::npos);
}

}  // namespace
}  // namespace instep::test
