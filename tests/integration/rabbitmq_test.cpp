// Services whose files name RabbitMQ, run by the program as anybody would.
#include "tests/integration/cli/cli_fixture.hpp"
#include "tests/support/amqp_client.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/rabbitmq_vhost.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <memory>

namespace instep::test {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

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
        given_replica("data-owner", "data_owner");
        const Finished applied = run({"apply", "iam.toml", "data_owner.toml"});
        ASSERT_EQ(applied.exit, 0) << applied.out << applied.err;
    }

    void given_replica(const std::string& service, const std::string& file) {
        given_file(file + ".toml", fmt::format(R"([service]
name = "{}"
database = "sqlite:{}.db"
broker = "{}"

[[replica]]
topic = "iam.user"
table = "lookup_users"
)",
                                               service, file, vhost_.url()));
    }

    /// Another service with a replica of its own, which must not mind.
    void given_services_and_another() {
        given_services_on_rabbitmq();
        given_replica("crm", "crm");
        const Finished applied = run({"apply", "crm.toml"});
        ASSERT_EQ(applied.exit, 0) << applied.out << applied.err;
    }

    void delete_queue_of_replica() {
        AmqpClient(vhost_.server().port(), vhost_.name()).delete_queue("data-owner.lookup_users.0");
    }

    std::string name_of_ada(const std::string& database) {
        return value(database, "SELECT username FROM lookup_users WHERE id = 1");
    }

    /// What `status`, `check` and `wait` say as long as that is so, and nothing of others.
    void expect_told(const std::string& subject, const std::string& message,
                     const std::string& fix = "start the service that reads it again") {
        const std::string told = fmt::format("{} {}", subject, message);
        const Finished status = run({"status", "iam.toml", "data_owner.toml", "--check"});
        EXPECT_EQ(status.exit, 8) << status.out << status.err;
        EXPECT_THAT(status.out,
                    AllOf(HasSubstr("data-owner.lookup_users is broken: " + told),
                          ContainsRegex("data-owner.lookup_users +broken"), HasSubstr(fix)));
        const auto shown = run_json({"status", "data_owner.toml"}, "instep.status/1");
        EXPECT_EQ(shown["healthy"], false);
        EXPECT_EQ(shown["broker_problems"][0]["subject"], subject);
        const Finished checked = run({"check", "data_owner.toml"});
        EXPECT_EQ(checked.exit, 8) << checked.out << checked.err;
        EXPECT_THAT(checked.out, AllOf(HasSubstr(subject), HasSubstr(fix)));
        const Finished waited = run({"wait", "data_owner.toml", "--caught-up", "--timeout", "1s"});
        EXPECT_EQ(waited.exit, 124) << waited.out << waited.err;
        EXPECT_THAT(waited.err, HasSubstr(told));
    }

    void expect_queue_told() {
        expect_told("queue data-owner.lookup_users.0", "is missing, with the events");
    }

    void expect_another_well() {
        EXPECT_EQ(run({"status", "crm.toml", "--check"}).exit, 0) << "it has no fault of its own";
    }

    /// Publishes under another name until the replica shows it.
    void change_ada_until_seen() {
        EXPECT_TRUE(eventually([&] {
            const std::string name = fmt::format("ada{}", ++changes_);
            sql("iam.db", fmt::format("UPDATE users SET username = '{}' WHERE id = 1", name));
            return eventually([&] { return name_of_ada("data_owner.db") == name; }, 1s);
        }));
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
    int changes_ = 0;
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

TEST_F(RabbitmqServices, TellOfAQueueDeletedUnderThemAndFillTheReplicaAnewWhenStartedAgain) {
    given_services_and_another();
    const Process others(INSTEP_PROGRAM, options({"run", "iam.toml", "crm.toml"}));
    auto reader = std::make_unique<Process>(INSTEP_PROGRAM, options({"run", "data_owner.toml"}));
    expect_in_step();
    ASSERT_TRUE(eventually([&] { return !name_of_ada("crm.db").empty(); }));

    delete_queue_of_replica();
    sql("iam.db", "UPDATE users SET username = 'ada.king' WHERE id = 1");
    EXPECT_TRUE(eventually([&] { return name_of_ada("crm.db") == "ada.king"; }));
    expect_queue_told();
    expect_another_well();
    EXPECT_NE(name_of_ada("data_owner.db"), "ada.king");

    reader->signal(SIGTERM);
    EXPECT_EQ(reader->wait().exit, 0);
    reader = std::make_unique<Process>(INSTEP_PROGRAM, options({"run", "data_owner.toml"}));
    EXPECT_TRUE(eventually([&] { return name_of_ada("data_owner.db") == "ada.king"; }));
    expect_in_step();
}

TEST_F(RabbitmqServices, TellOfAQueueDeletedWhileTheyStandAndFillTheReplicaAnewAtTheNextStart) {
    given_services_and_another();
    const Process others(INSTEP_PROGRAM, options({"run", "iam.toml", "crm.toml"}));
    {
        Process reader(INSTEP_PROGRAM, options({"run", "data_owner.toml"}));
        expect_in_step();
        reader.signal(SIGTERM);
        EXPECT_EQ(reader.wait().exit, 0);
    }

    delete_queue_of_replica();
    sql("iam.db", "UPDATE users SET username = 'ada.king' WHERE id = 1");
    EXPECT_TRUE(eventually([&] { return name_of_ada("crm.db") == "ada.king"; }));
    expect_queue_told();
    expect_another_well();

    const Process reader(INSTEP_PROGRAM, options({"run", "data_owner.toml"}));
    EXPECT_TRUE(eventually([&] { return name_of_ada("data_owner.db") == "ada.king"; }));
    expect_in_step();
}

TEST_F(RabbitmqServices, TellOfEventsThatDidNotComeAndFillTheReplicaAnewWhenStartedAgain) {
    given_services_and_another();
    const Process others(INSTEP_PROGRAM, options({"run", "iam.toml", "crm.toml"}));
    auto reader = std::make_unique<Process>(INSTEP_PROGRAM, options({"run", "data_owner.toml"}));
    expect_in_step();
    ASSERT_TRUE(eventually([&] { return !name_of_ada("crm.db").empty(); }));
    change_ada_until_seen();

    // The member may bind its queue again before anything is published.
    EXPECT_TRUE(eventually([&] {
        AmqpClient(vhost_.server().port(), vhost_.name())
            .unbind_standing_queue("data-owner.lookup_users.0", "iam.user.p0");
        sql("iam.db",
            fmt::format("INSERT INTO users (id, username) VALUES ({}, 'lost')", 1000 + ++changes_));
        change_ada_until_seen();
        return run({"status", "data_owner.toml", "--check"}).exit == 8;
    }));
    expect_told("subscription data-owner.lookup_users", "misses events");
    expect_another_well();

    reader->signal(SIGTERM);
    EXPECT_EQ(reader->wait().exit, 0);
    reader = std::make_unique<Process>(INSTEP_PROGRAM, options({"run", "data_owner.toml"}));
    expect_in_step();
}

TEST_F(RabbitmqServices, TellOfAQueueWithoutALeader) {
    given_services_and_another();
    {
        Process all(INSTEP_PROGRAM, options({"run", "iam.toml", "crm.toml", "data_owner.toml"}));
        expect_in_step();
        ASSERT_TRUE(eventually([&] { return !name_of_ada("crm.db").empty(); }));
        all.signal(SIGTERM);
        EXPECT_EQ(all.wait().exit, 0);
    }
    vhost_.server().take_leader(vhost_.name(), "data-owner.lookup_users.0");
    expect_told("queue data-owner.lookup_users.0", "has no leader", "start the nodes that hold it");
    expect_another_well();

    vhost_.server().give_leader(vhost_.name(), "data-owner.lookup_users.0");
    const Process all(INSTEP_PROGRAM, options({"run", "iam.toml", "data_owner.toml"}));
    expect_in_step();
}

TEST_F(RabbitmqServices, KeepInTheLogWhatNoQueueTakes) {
    given_services_on_rabbitmq();
    const Process owner(INSTEP_PROGRAM, options({"run", "iam.toml"}));
    {
        Process reader(INSTEP_PROGRAM, options({"run", "data_owner.toml"}));
        expect_in_step();
        reader.signal(SIGTERM);
        EXPECT_EQ(reader.wait().exit, 0);
    }

    delete_queue_of_replica();
    sql("iam.db", "UPDATE users SET username = 'ada.king' WHERE id = 1");
    expect_queue_told();
    const auto lag = [&] {
        return run_json({"status", "iam.toml"},
                        "instep.status/1")["services"][0]["relay"]["lag_events"]
            .get<std::string>();
    };
    EXPECT_EQ(lag(), "1") << "it was published into nothing";

    const Process reader(INSTEP_PROGRAM, options({"run", "data_owner.toml"}));
    EXPECT_TRUE(eventually([&] { return lag() == "0"; }));
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
