// The program on Kafka: its service files differ from those of an embedded broker in one URL.
#include "tests/integration/cli/cli_fixture.hpp"
#include "tests/support/kafka_client.hpp"
#include "tests/support/kafka_server.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <csignal>

namespace instep::test {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class KafkaTest : public CliTest {
protected:
    /// Services with names of their own on the server that all tests share.
    void given_services_on(const std::string& broker) {
        const std::string head = "[service]\nbroker = \"" + broker + "\"\n";
        given_file("iam.toml", head + "name = \"" + owner_ +
                                   "\"\ndatabase = \"sqlite:iam.db\"\n"
                                   "[[publish]]\ntable = \"users\"\nentity = \"user\"\n"
                                   "key = \"id\"\ncolumns = [\"id\", \"username\"]\n");
        given_file("data_owner.toml", head + "name = \"data-" + owner_ +
                                          "\"\ndatabase = \"sqlite:data_owner.db\"\n"
                                          "[[replica]]\ntopic = \"" +
                                          owner_ + ".user\"\ntable = \"lookup_users\"\n");
        sql("iam.db",
            "CREATE TABLE users (id INTEGER PRIMARY KEY, username TEXT NOT NULL);"
            "INSERT INTO users VALUES (1, 'ada'), (2, 'bob'), (3, 'eve')");
        expect_ok({"apply", "iam.toml", "data_owner.toml"});
    }

    Finished expect_ok(const std::vector<std::string>& words) const {
        Finished finished = run(words);
        EXPECT_EQ(finished.exit, 0) << words[0] << ": " << finished.out << finished.err;
        return finished;
    }

    void expect_in_step() const {
        expect_ok({"wait", "--caught-up", "--timeout", "2m", "iam.toml", "data_owner.toml"});
        EXPECT_EQ(value("data_owner.db", kRows), value("iam.db",
                                                       "SELECT group_concat(id || username) "
                                                       "FROM (SELECT * FROM users "
                                                       "ORDER BY id)"));
    }

    static constexpr const char* kRows =
        "SELECT group_concat(id || username) FROM (SELECT * FROM lookup_users ORDER BY id)";

    const std::string owner_ =
        "iam" + std::to_string(testing::UnitTest::GetInstance()->current_test_info()->line());
};

TEST_F(KafkaTest, KeepsAReplicaInStep) {
    given_services_on(KafkaServer::shared().url());
    Process running(INSTEP_PROGRAM, options({"run", "iam.toml", "data_owner.toml"}));
    expect_in_step();

    sql("iam.db",
        "UPDATE users SET username = 'countess' WHERE id = 1; DELETE FROM users WHERE id = 2;"
        "INSERT INTO users VALUES (4, 'zoë')");

    expect_in_step();
    running.signal(SIGTERM);
    EXPECT_EQ(running.wait().exit, 0);
    expect_ok({"verify", "iam.toml", "data_owner.toml"});
}

TEST_F(KafkaTest, OwnerAndReplicaInProcessesOfTheirOwnSurviveARestartOfTheServer) {
    KafkaServer server;
    given_services_on(server.url());
    Process owner(INSTEP_PROGRAM, options({"run", "iam.toml"}));
    Process replica(INSTEP_PROGRAM, options({"run", "data_owner.toml"}));
    expect_in_step();

    server.kill();
    sql("iam.db", "UPDATE users SET username = username || '!'");
    server.start();

    expect_in_step();
    owner.signal(SIGTERM);
    replica.signal(SIGTERM);
    EXPECT_EQ(owner.wait().exit, 0);
    EXPECT_EQ(replica.wait().exit, 0);
    expect_ok({"verify", "iam.toml", "data_owner.toml"});
}

TEST_F(KafkaTest, ATopicWithOtherPartitionsIsTold) {
    KafkaClient(KafkaServer::shared()).create_topic(owner_ + ".user", 3);
    given_services_on(KafkaServer::shared().url());
    Process running(INSTEP_PROGRAM, options({"run", "iam.toml"}));

    EXPECT_TRUE(running.complains("exists with 3 partitions, not 1"));
    running.signal(SIGTERM);
    running.wait();
}

TEST_F(KafkaTest, AServerThatIsNotThereIsTold) {
    given_services_on("kafka://127.0.0.1:1");
    const Finished finished = run({"status", "iam.toml"});
    EXPECT_NE(finished.exit, 0);
    EXPECT_THAT(finished.out + finished.err, HasSubstr("kafka://127.0.0.1:1"));
    EXPECT_THAT(finished.out + finished.err, HasSubstr("refused"));
}

TEST_F(KafkaTest, TheDemoEndsWithItsProof) {
    const Finished finished = run({"demo", "--broker", KafkaServer::shared().url(), "--seconds",
                                   "3", "--rows", "500", "--json"});
    EXPECT_EQ(finished.exit, 0) << finished.out << finished.err;
    const auto demo = nlohmann::json::parse(finished.out, nullptr, false);
    ASSERT_TRUE(demo.is_object());
    EXPECT_EQ(demo["ok"], true);
    EXPECT_GT(demo["committed"], 0);
    for (const auto& each : demo["replicas"]) {
        EXPECT_EQ(each["differences"], 0) << each;
    }
}

}  // namespace
}  // namespace instep::test
