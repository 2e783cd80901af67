// Services whose files name RabbitMQ, run by the program as anybody would.
#include "tests/integration/cli/cli_fixture.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/rabbitmq_vhost.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <csignal>

namespace instep::test {
namespace {

class RabbitmqServices : public CliTest {
protected:
    /// The files of CliTest, with a vhost of the test's own instead of the embedded broker.
    void given_services_on_rabbitmq() {
        given_services();
        given_file("iam.toml", fmt::format(R"([service]
name = "iam"
database = "sqlite:iam.db"
broker = "{}"

[[publish]]
table = "users"
entity = "user"
key = "id"
columns = ["id", "username", "email"]
)",
                                           vhost_.url()));
        given_file("data_owner.toml", fmt::format(R"([service]
name = "data-owner"
database = "sqlite:data_owner.db"
broker = "{}"

[[replica]]
topic = "iam.user"
table = "lookup_users"
)",
                                                  vhost_.url()));
        const Finished applied = run({"apply", "iam.toml", "data_owner.toml"});
        ASSERT_EQ(applied.exit, 0) << applied.out << applied.err;
    }

    void expect_in_step() {
        // A server that has just started says for a moment that its queues are away.
        Finished waited;
        EXPECT_TRUE(eventually([&] {
            waited = run({"wait", "iam.toml", "data_owner.toml", "--caught-up", "--timeout", "2m"});
            return waited.exit != 4;
        }));
        EXPECT_EQ(waited.exit, 0) << waited.out << waited.err;
        const Finished verified = run({"verify", "iam.toml", "data_owner.toml"});
        EXPECT_EQ(verified.exit, 0) << verified.out << verified.err;
        EXPECT_EQ(value("data_owner.db",
                        "SELECT group_concat(username) FROM (SELECT username FROM "
                        "lookup_users ORDER BY id)"),
                  value("iam.db",
                        "SELECT group_concat(username) FROM (SELECT username FROM users "
                        "ORDER BY id)"));
    }

    RabbitmqVhost vhost_;
};

TEST_F(RabbitmqServices, KeepAReplicaInStep) {
    given_services_on_rabbitmq();
    Process services(INSTEP_PROGRAM, options({"run", "iam.toml", "data_owner.toml"}));
    expect_in_step();

    sql("iam.db",
        "UPDATE users SET username = 'ada.king' WHERE id = 1; DELETE FROM users WHERE id = 2; "
        "INSERT INTO users (id, username) VALUES (99, 'grace')");
    expect_in_step();

    const Finished checked = run({"check", "iam.toml", "data_owner.toml"});
    EXPECT_EQ(checked.exit, 0) << checked.out << checked.err;
    services.signal(SIGTERM);
    const Finished ended = services.wait();
    EXPECT_EQ(ended.exit, 0) << ended.out << ended.err;
}

TEST_F(RabbitmqServices, GoOnBehindAServerThatWasRestarted) {
    given_services_on_rabbitmq();
    const Process services(INSTEP_PROGRAM, options({"run", "iam.toml", "data_owner.toml"}));
    expect_in_step();
    vhost_.server().stop();
    sql("iam.db", "UPDATE users SET username = 'ada.king' WHERE id = 1");
    vhost_.server().start();

    expect_in_step();
}

TEST_F(RabbitmqServices, GoOnBehindAServerThatWasKilled) {
    given_services_on_rabbitmq();
    const Process services(INSTEP_PROGRAM, options({"run", "iam.toml", "data_owner.toml"}));
    expect_in_step();
    vhost_.server().save_queue_names();
    vhost_.server().kill();
    sql("iam.db", "UPDATE users SET username = 'ada.king' WHERE id = 1");
    vhost_.server().start();

    expect_in_step();
}

TEST_F(RabbitmqServices, AreWhatTheDemoRunsOn) {
    const Finished demo =
        run({"demo", "--seconds", "2", "--rows", "500", "--broker", vhost_.url(), "--json"});
    EXPECT_EQ(demo.exit, 0) << demo.out << demo.err;
    const auto result = nlohmann::json::parse(demo.out, nullptr, false);
    ASSERT_TRUE(result.is_object()) << demo.out;
    EXPECT_EQ(result["ok"], true) << demo.out;
    EXPECT_GT(result["committed"], 0);
    EXPECT_EQ(result["published"], result["committed"]);
}

}  // namespace
}  // namespace instep::test
