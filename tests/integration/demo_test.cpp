#include "tests/integration/cli/cli_fixture.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/postgres_session.hpp"

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
        const Finished finished = demo.wait();
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
        return demo_->wait();
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

TEST_F(DemoTest, InvitesToCommandsThatTheShellFinds) {
    given_running_demo();
    EXPECT_TRUE(demo_->prints("\n  " INSTEP_PROGRAM " status demo/iam.toml demo/data_owner.toml"));
    EXPECT_TRUE(demo_->prints("\n  " INSTEP_PROGRAM " tail demo/iam.toml\n"));
    EXPECT_EQ(interrupt().exit, 0);
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

TEST_F(DemoTest, RunsWithoutABroker) {
    const auto demo =
        run_demo({"--broker", "direct:", "--seconds", "2", "--rows", "300", "--rate", "300"}, 0);
    EXPECT_EQ(demo["ok"], true);
    EXPECT_FALSE(std::filesystem::exists(folder_.file("demo/broker.db")));
}

TEST_F(DemoTest, OtherBrokersAndDatabasesAreThree) {
    EXPECT_EQ(run_demo({"--broker", "nats://127.0.0.1"}, 3)["code"], "config_invalid");
    EXPECT_EQ(run_demo({"--database", "mysql://127.0.0.1"}, 3)["code"], "config_invalid");
    EXPECT_FALSE(std::filesystem::exists(folder_.path() / "demo"));
}

TEST_F(DemoTest, ANumberOutOfBoundsIsTwo) {
    EXPECT_EQ(run_demo({"--rate", "0"}, 2)["code"], "invalid_argument");
    EXPECT_EQ(run_demo({"break", "nothing"}, 2)["code"], "invalid_argument");
}

/// Each test has a prefix of its own on the server that all share.
class DemoOnServerTest : public DemoTest {
protected:
    nlohmann::json run_on_server(std::vector<std::string> arguments, int exit) const {
        arguments.insert(arguments.end(), {"--database", server_.url(""), "--prefix", prefix_});
        return run_demo(std::move(arguments), exit);
    }

    [[nodiscard]] std::string databases() const {
        return run_postgres(server_.url(), "SELECT count(*) FROM pg_database WHERE datname LIKE '" +
                                               prefix_ + "%'");
    }

    [[nodiscard]] std::string value_of(const std::string& name, const std::string& query) const {
        return run_postgres(server_.url(prefix_ + name), query);
    }

    PostgresServer& server_ = PostgresServer::shared();
    const std::string prefix_ =
        std::to_string(::getpid()) + "_" +
        std::to_string(testing::UnitTest::GetInstance()->current_test_info()->line()) + "_";
};

TEST_F(DemoOnServerTest, EndsWithItsProofAndLeavesNothing) {
    const auto demo = run_on_server({"--seconds", "3", "--rows", "500"}, 0);
    EXPECT_EQ(demo["schema"], "instep.demo/1");
    EXPECT_EQ(demo["ok"], true);
    EXPECT_GT(demo["committed"], 0);
    EXPECT_EQ(demo["published"], demo["committed"]);
    ASSERT_EQ(demo["replicas"].size(), 3U);
    for (const auto& replica : demo["replicas"]) {
        EXPECT_EQ(replica["differences"], 0) << replica;
        EXPECT_GT(replica["rows"], 0) << replica;
        EXPECT_GT(replica["applied"], 0) << replica;
    }
    EXPECT_GT(demo["latency_ms"]["p50"], 0);
    EXPECT_EQ(databases(), "0");
}

TEST_F(DemoOnServerTest, WhatItKeepsWorksAndIsReplaced) {
    run_on_server({"--seconds", "1", "--rows", "100", "--keep"}, 0);
    EXPECT_EQ(databases(), "4");
    EXPECT_EQ(value_of("iam_db",
                       "SELECT string_agg(data_type, ',' ORDER BY column_name) FROM "
                       "information_schema.columns WHERE table_name = 'users' AND column_name IN "
                       "('id', 'is_active', 'updated_at', 'username')"),
              "uuid,boolean,timestamp with time zone,character varying");
    EXPECT_EQ(value_of("core_db",
                       "SELECT count(*) FROM resources r JOIN lookup_users u "
                       "ON u.id = r.created_by WHERE reference_number = 'REF-00001'"),
              "1");
    EXPECT_EQ(
        value_of("iam_db", "SELECT count(*) FROM instep.log l WHERE l::text ~ 'argon2|mfa_secret'"),
        "0");
    EXPECT_EQ(value("demo/broker.db",
                    "SELECT count(*) FROM instep_message WHERE instr(data, 'argon2') > 0 "
                    "OR instr(data, 'mfa_secret') > 0"),
              "0");
    const Finished verified = run({"verify", "demo/iam.toml", "demo/data_owner.toml",
                                   "demo/processing.toml", "demo/admin.toml"});
    EXPECT_EQ(verified.exit, 0) << verified.out << verified.err;

    run_on_server({"--seconds", "1", "--rows", "50"}, 0);
    EXPECT_EQ(databases(), "0");
}

TEST_F(DemoOnServerTest, AnotherOnesDatabaseIsSixAndIsLeftAlone) {
    const PostgresDatabase others(server_, {.name = prefix_ + "core_db"});
    EXPECT_EQ(run_on_server({"--seconds", "1"}, 6)["code"], "conflict");
    EXPECT_EQ(databases(), "1");
    EXPECT_FALSE(std::filesystem::exists(folder_.path() / "demo"));
}

TEST_F(DemoOnServerTest, DatabasesThatAreInUseAreSix) {
    run_on_server({"--seconds", "1", "--rows", "10", "--keep"}, 0);
    const PostgresSession somebody(server_.url(prefix_ + "iam_db"));
    EXPECT_EQ(run_on_server({"--seconds", "1"}, 6)["code"], "conflict");
}

/// A kind, and where its databases are.
using Broken = std::tuple<std::string, std::string>;

class DemoBreakTest : public DemoOnServerTest, public testing::WithParamInterface<Broken> {};

TEST_P(DemoBreakTest, KeepsItsPromises) {
    const auto& [kind, place] = GetParam();
    const auto broken =
        place == "server" ? run_on_server({"break", kind}, 0) : run_demo({"break", kind}, 0);
    EXPECT_EQ(broken["schema"], "instep.demo-break/1");
    EXPECT_EQ(broken["kind"], kind);
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
                         testing::Combine(testing::Values("kill-relay", "duplicate", "poison",
                                                          "stale-backfill"),
                                          testing::Values("files", "server")),
                         [](const auto& broken) {
                             std::string name =
                                 std::get<0>(broken.param) + "_" + std::get<1>(broken.param);
                             std::erase(name, '-');
                             return name;
                         });

}  // namespace
}  // namespace instep::test
