// The program with services that name a Redis server, and everything that works with them.
#include "tests/integration/cli/cli_fixture.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/redis_server.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <fstream>
#include <memory>
#include <sstream>

namespace instep::test {
namespace {

using namespace std::chrono_literals;

class RedisServicesTest : public CliTest {
protected:
    /// The two services of the fixture, each in a process of its own, on a server of their own.
    void given_running_services() {
        given_services();
        name_broker("iam.toml");
        name_broker("data_owner.toml");
        const Finished applied = run({"apply", "iam.toml", "data_owner.toml"});
        ASSERT_EQ(applied.exit, 0) << applied.err;
        start(iam_, "iam.toml");
        start(data_owner_, "data_owner.toml");
        expect_caught_up();
    }

    void name_broker(const std::string& file) const {
        std::ostringstream text;
        text << std::ifstream(folder_.file(file)).rdbuf();
        std::string changed = text.str();
        constexpr std::string_view kEmbedded = "embedded:broker.db";
        changed.replace(changed.find(kEmbedded), kEmbedded.size(), server_.url());
        given_file(file, changed);
    }

    void start(std::unique_ptr<Process>& process, const std::string& file) {
        process = std::make_unique<Process>(INSTEP_PROGRAM, options({"run", file}));
        ASSERT_TRUE(process->prints("ready"));
    }

    void start_waiting(std::unique_ptr<Process>& process, const std::string& file) {
        process = std::make_unique<Process>(INSTEP_PROGRAM, options({"run", file}));
        ASSERT_TRUE(process->complains("run.waiting"));
    }

    void expect_caught_up() const {
        const Finished waited =
            run({"wait", "--caught-up", "--timeout", "2m", "iam.toml", "data_owner.toml"});
        EXPECT_EQ(waited.exit, 0) << waited.out << waited.err;
    }

    void expect_no_differences() const {
        const Finished verified = run({"verify", "iam.toml", "data_owner.toml"});
        EXPECT_EQ(verified.exit, 0) << verified.out << verified.err;
        EXPECT_EQ(value("data_owner.db", "SELECT count(*) FROM lookup_users"),
                  value("iam.db", "SELECT count(*) FROM users"));
    }

    void insert_users(int first, int last) const {
        sql("iam.db", fmt::format("WITH RECURSIVE n(i) AS (SELECT {} UNION ALL SELECT i + 1 FROM n "
                                  "WHERE i < {}) INSERT INTO users SELECT i, 'u' || i, NULL, 'x' "
                                  "FROM n",
                                  first, last));
    }

    RedisServer server_;
    std::unique_ptr<Process> iam_;
    std::unique_ptr<Process> data_owner_;
};

TEST_F(RedisServicesTest, KeepAReplicaInStep) {
    given_running_services();
    insert_users(100, 2000);
    sql("iam.db",
        "UPDATE users SET email = 'new@example.org' WHERE id % 3 = 0; "
        "DELETE FROM users WHERE id = 2");
    expect_caught_up();

    EXPECT_EQ(value("data_owner.db",
                    "SELECT count(*) FROM lookup_users WHERE email = "
                    "'new@example.org'"),
              value("iam.db", "SELECT count(*) FROM users WHERE email = 'new@example.org'"));
    iam_->signal(SIGTERM);
    data_owner_->signal(SIGTERM);
    EXPECT_EQ(iam_->wait().exit, 0);
    EXPECT_EQ(data_owner_->wait().exit, 0);
    expect_no_differences();
}

TEST_F(RedisServicesTest, GoOnWhenTheServerWasKilled) {
    given_running_services();
    insert_users(100, 200);
    server_.kill();
    insert_users(201, 300);
    server_.start();
    insert_users(301, 400);
    expect_caught_up();

    iam_->signal(SIGTERM);
    data_owner_->signal(SIGTERM);
    EXPECT_EQ(iam_->wait().exit, 0);
    EXPECT_EQ(data_owner_->wait().exit, 0);
    expect_no_differences();
}

TEST_F(RedisServicesTest, WaitForAServerThatIsNotThereYet) {
    given_running_services();
    iam_->signal(SIGTERM);
    EXPECT_EQ(iam_->wait().exit, 0);
    server_.kill();
    insert_users(100, 200);

    start_waiting(iam_, "iam.toml");
    server_.start();
    EXPECT_TRUE(iam_->prints("ready"));
    expect_caught_up();
}

TEST_F(RedisServicesTest, EndInOrderWhileTheyWaitForAServer) {
    given_services();
    name_broker("iam.toml");
    ASSERT_EQ(run({"apply", "iam.toml"}).exit, 0);
    server_.kill();

    start_waiting(iam_, "iam.toml");
    iam_->signal(SIGTERM);
    EXPECT_EQ(iam_->wait().exit, 0);
}

TEST_F(RedisServicesTest, AreToldOfSettingsThatLoseEvents) {
    given_running_services();
    server_.command("CONFIG SET appendonly no");
    const Finished checked = run({"check", "iam.toml"});
    EXPECT_EQ(checked.exit, 8) << checked.out;
    EXPECT_NE(checked.out.find("appendonly"), std::string::npos) << checked.out;
}

TEST_F(RedisServicesTest, AreDemonstratedTwice) {
    for (int round = 0; round < 2; ++round) {
        const auto demo =
            run_json({"demo", "--broker", server_.url(), "--seconds", "2", "--rows", "2000"},
                     "instep.demo/1");
        EXPECT_EQ(demo["ok"], true) << demo;
        EXPECT_GT(demo["committed"], 0);
        for (const auto& replica : demo["replicas"]) {
            EXPECT_EQ(replica["differences"], 0) << replica;
        }
    }
}

}  // namespace
}  // namespace instep::test
