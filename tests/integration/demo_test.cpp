#include "tests/integration/cli/cli_fixture.hpp"

#include <nlohmann/json.hpp>

#include <csignal>
#include <filesystem>
#include <fstream>

namespace instep::test {
namespace {

using std::chrono::seconds;

class DemoTest : public CliTest {
protected:
    /// Runs it with --json in the folder "demo"; it must print one object and nothing else.
    nlohmann::json run_demo(std::vector<std::string> arguments, int exit) const {
        arguments.insert(arguments.begin(), "demo");
        arguments.emplace_back("--json");
        Process demo(INSTEP_PROGRAM, options(arguments));
        const Finished finished = demo.wait(seconds(120));
        EXPECT_EQ(finished.exit, exit) << finished.out << finished.err;
        EXPECT_EQ(finished.err, "");
        EXPECT_EQ(finished.out.find('\n'), finished.out.size() - 1) << finished.out;
        auto json = nlohmann::json::parse(finished.out, nullptr, false);
        EXPECT_TRUE(json.is_object()) << finished.out;
        return json.is_object() ? json : nlohmann::json::object();
    }

    /// A demo that runs until it is told to end, at a moment when all replicas are filled.
    void given_running_demo() {
        demo_.emplace(INSTEP_PROGRAM,
                      options({"demo", "--seconds", "600", "--rows", "1000", "--rate", "50"}));
        ASSERT_TRUE(demo_->prints("admin live"));
    }

    Finished interrupt() {
        demo_->signal(SIGINT);
        return demo_->wait(seconds(10));
    }

    std::optional<Process> demo_;
};

TEST_F(DemoTest, EndsWithReplicasThatEqualTheirSource) {
    const auto demo = run_demo({"--seconds", "2", "--rows", "2500"}, 0);
    EXPECT_EQ(demo["schema"], "instep.demo/1");
    EXPECT_EQ(demo["ok"], true);
    EXPECT_GE(demo["seconds"], 2);
    EXPECT_GT(demo["committed"], 0);
    EXPECT_EQ(demo["published"], demo["committed"]);
    ASSERT_EQ(demo["replicas"].size(), 3U);
    for (const auto& replica : demo["replicas"]) {
        EXPECT_EQ(replica["differences"], 0) << replica;
        EXPECT_GT(replica["applied"], 0) << replica;
        EXPECT_EQ(replica["rows"].dump(), value("demo/iam.db", "SELECT count(*) FROM users"));
    }
    EXPECT_GT(demo["latency_ms"]["p50"], 0);
    EXPECT_GE(demo["latency_ms"]["max"], demo["latency_ms"]["p99"]);
}

TEST_F(DemoTest, PasswordsAndSecretsStayWithTheirOwner) {
    run_demo({"--seconds", "1", "--rows", "100"}, 0);
    EXPECT_NE(
        value("demo/iam.db", "SELECT count(*) FROM users WHERE password_hash LIKE '$argon2%'"),
        "0");
    EXPECT_NE(value("demo/broker.db", "SELECT count(*) FROM instep_message"), "0");
    EXPECT_EQ(value("demo/broker.db",
                    "SELECT count(*) FROM instep_message WHERE instr(data, 'argon2') > 0 "
                    "OR instr(data, 'mfa_secret') > 0"),
              "0");
}

TEST_F(DemoTest, ItsServiceFilesWorkWithTheOtherCommands) {
    run_demo({"--seconds", "1", "--rows", "100"}, 0);
    const std::vector<std::string> files = {"demo/iam.toml", "demo/data_owner.toml",
                                            "demo/processing.toml", "demo/admin.toml"};
    for (const std::string command : {"check", "status", "verify"}) {
        std::vector<std::string> words = files;
        words.insert(words.begin(), command);
        const Finished finished = run(words);
        EXPECT_EQ(finished.exit, 0) << command << ": " << finished.out << finished.err;
    }
}

TEST_F(DemoTest, AnInterruptedDemoStillEndsWithItsProof) {
    given_running_demo();
    const Finished finished = interrupt();
    EXPECT_FALSE(finished.overdue);
    EXPECT_EQ(finished.exit, 0) << finished.out << finished.err;
    EXPECT_NE(finished.out.find("All three replicas equal iam's users"), std::string::npos)
        << finished.out;
}

TEST_F(DemoTest, AReplicaThatSomebodyChangedIsEight) {
    given_running_demo();
    sql("demo/data_owner.db",
        "UPDATE lookup_users SET first_name = 'Eve' WHERE username = 'ada.lovelace'");
    const Finished finished = interrupt();
    EXPECT_EQ(finished.exit, 8) << finished.out << finished.err;
    EXPECT_NE(finished.out.find("Not all replicas equal iam's users: 1 difference"),
              std::string::npos)
        << finished.out;
}

TEST_F(DemoTest, ChangesByOthersArePartOfIt) {
    given_running_demo();
    sql("demo/iam.db", "UPDATE users SET first_name = 'Countess' WHERE username = 'ada.lovelace'");
    const Finished finished = interrupt();
    EXPECT_EQ(finished.exit, 0) << finished.out << finished.err;
    EXPECT_NE(finished.out.find("created by Countess Lovelace"), std::string::npos) << finished.out;
}

TEST_F(DemoTest, AFolderWithOtherFilesIsSixAndIsLeftAlone) {
    std::filesystem::create_directory(folder_.path() / "demo");
    given_file("demo/iam.db", "mine");
    const auto error = run_demo({"--seconds", "1"}, 6);
    EXPECT_EQ(error["code"], "conflict");
    std::ifstream file(folder_.file("demo/iam.db"));
    std::string text;
    std::getline(file, text);
    EXPECT_EQ(text, "mine");
    EXPECT_FALSE(std::filesystem::exists(folder_.file("demo/iam.toml")));
}

TEST_F(DemoTest, AnEarlierDemosFolderIsUsedAgainAndOtherFilesInItStay) {
    run_demo({"--seconds", "1", "--rows", "100"}, 0);
    given_file("demo/notes.txt", "mine");
    const auto demo = run_demo({"--seconds", "1", "--rows", "100"}, 0);
    EXPECT_EQ(demo["ok"], true);
    EXPECT_TRUE(std::filesystem::exists(folder_.file("demo/notes.txt")));
}

TEST_F(DemoTest, ASecondDemoInTheSameFolderIsSix) {
    given_running_demo();
    EXPECT_EQ(run_demo({"--seconds", "1"}, 6)["code"], "conflict");
    EXPECT_EQ(interrupt().exit, 0);
}

TEST_F(DemoTest, OtherBrokersAndDatabasesAreThree) {
    EXPECT_EQ(run_demo({"--broker", "redis://127.0.0.1"}, 3)["code"], "config_invalid");
    EXPECT_EQ(run_demo({"--database", "postgresql:///x"}, 3)["code"], "config_invalid");
    EXPECT_FALSE(std::filesystem::exists(folder_.path() / "demo"));
}

TEST_F(DemoTest, ANumberOutOfBoundsIsTwo) {
    EXPECT_EQ(run_demo({"--rate", "0"}, 2)["code"], "invalid_argument");
    EXPECT_EQ(run_demo({"break", "nothing"}, 2)["code"], "invalid_argument");
}

class DemoBreakTest : public DemoTest, public testing::WithParamInterface<std::string> {};

TEST_P(DemoBreakTest, KeepsItsPromises) {
    const auto broken = run_demo({"break", GetParam()}, 0);
    EXPECT_EQ(broken["schema"], "instep.demo-break/1");
    EXPECT_EQ(broken["kind"], GetParam());
    EXPECT_EQ(broken["ok"], true);
    EXPECT_EQ(broken["differences"], 0);
    EXPECT_FALSE(broken["story"].empty());
    EXPECT_FALSE(broken["promises"].empty());
    for (const auto& promise : broken["promises"]) {
        EXPECT_EQ(promise["kept"], true) << promise;
    }
    ASSERT_EQ(broken["before"].size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_GT(broken["after"][i]["applied"], 0);
        EXPECT_GE(broken["after"][i]["applied"], broken["before"][i]["applied"]);
        EXPECT_EQ(broken["after"][i]["parked_keys"], 0);
    }
}

INSTANTIATE_TEST_SUITE_P(Kinds, DemoBreakTest,
                         testing::Values("kill-relay", "duplicate", "poison", "stale-backfill"),
                         [](const auto& kind) {
                             std::string name = kind.param;
                             std::erase(name, '-');
                             return name;
                         });

}  // namespace
}  // namespace instep::test
