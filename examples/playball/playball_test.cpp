// The example with its own files: by its script, and on PostgreSQL and Kafka with a service that
// is killed.
#include "instep/http/client.hpp"
#include "tests/support/kafka_server.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/postgres_session.hpp"
#include "tests/support/process.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <csignal>
#include <map>
#include <memory>

namespace instep::test {
namespace {

using ::testing::HasSubstr;

class PlayballTest : public testing::Test {
protected:
    /// As a supervisor does: again where it ends, as it does while Kafka is not up yet.
    void start(const std::string& service) {
        auto& process = processes_[service];
        ASSERT_TRUE(eventually([&] {
            process = std::make_unique<Process>(program(service),
                                                options({service + ".toml", "serve", "--apply"}));
            return eventually(
                       [&] { return process->has_ended() || process->prints("ready", {}); }) &&
                   process->prints("ready", {});
        }));
    }

    void kill(const std::string& service) {
        processes_.at(service)->signal(SIGKILL);
        processes_.at(service)->wait();
    }

    void stop(const std::string& service) {
        processes_.at(service)->signal(SIGTERM);
        const Finished finished = processes_.at(service)->wait();
        EXPECT_EQ(finished.exit, 0) << service << ": " << finished.err;
    }

    [[nodiscard]] Finished command(const std::string& service,
                                   std::vector<std::string> words) const {
        words.insert(words.begin(), service + ".toml");
        return run_process(program(service), options(words));
    }

    /// The id of a new user.
    [[nodiscard]] std::string given_user(const std::string& username) const {
        const Finished registered =
            command("auth", {"register", username, "Name of " + username, username + "@x.org"});
        EXPECT_EQ(registered.exit, 0) << registered.err;
        return registered.out.substr(0, registered.out.find('\n'));
    }

    void expect_ok(const std::string& service, const std::vector<std::string>& words) const {
        const Finished finished = command(service, words);
        EXPECT_EQ(finished.exit, 0) << finished.out << finished.err;
    }

    void expect_refused(const std::string& service, const std::vector<std::string>& words,
                        const std::string& why) const {
        const Finished finished = command(service, words);
        EXPECT_EQ(finished.exit, 1) << finished.out;
        EXPECT_THAT(finished.err, HasSubstr(why));
    }

    /// Asks the service's process by HTTP.
    [[nodiscard]] HttpResponse post(const std::string& service, const std::string& path,
                                    const std::string& body) const {
        const std::string said = processes_.at(service)->output();
        const std::size_t begin = said.find("http://");
        auto client =
            HttpClient::create(said.substr(begin, said.find('\n', begin) - begin)).value();
        return client.send({.method = "POST", .path = path, .body = body})
            .value_or(HttpResponse{.status = 0});
    }

    void expect_answer(const std::string& service, const std::string& path, const std::string& body,
                       unsigned status, const std::string& text) const {
        const HttpResponse answer = post(service, path, body);
        EXPECT_EQ(answer.status, status) << path << body;
        EXPECT_THAT(answer.body, HasSubstr(text));
    }

    void instep(std::vector<std::string> words) const {
        words.insert(words.begin() + 1, {"auth.toml", "groups.toml"});
        Process process(INSTEP_PROGRAM, options(words));
        const Finished finished = process.wait();
        EXPECT_EQ(finished.exit, 0) << words[0] << ": " << finished.out << finished.err;
    }

    void expect_in_step() const { instep({"wait", "--caught-up", "--timeout", "2m"}); }

    std::string auth_sql(const std::string& statements) const {
        return run_postgres(auth_.url(), statements);
    }

    std::string groups_sql(const std::string& statements) const {
        return run_postgres(groups_.url(), statements);
    }

    static std::string program(const std::string& service) {
        return fmt::format("{}/playball_{}", PLAYBALL_PROGRAMS, service);
    }

    [[nodiscard]] ProcessOptions options(std::vector<std::string> words) const {
        ProcessOptions options;
        options.arguments = std::move(words);
        options.environment = {{"DATABASE_AUTH", auth_.url()},
                               {"DATABASE_GROUPS", groups_.url()},
                               {"BROKER", kafka_.url()}};
        options.directory = PLAYBALL_FOLDER;
        return options;
    }

    PostgresDatabase auth_;
    PostgresDatabase groups_;

    /// Of each test's own, since the topics have the names that the files give them.
    KafkaServer kafka_;
    std::map<std::string, std::unique_ptr<Process>> processes_;
};

TEST_F(PlayballTest, EachChangeTakesEffectOnceAndInOrderAlthoughServicesAreKilled) {
    constexpr int kUsers = 300;
    start("auth");
    start("groups");
    auth_sql(
        fmt::format("INSERT INTO users SELECT 'u' || n, 'user' || n, 'name 0', 'x@y', 'argon2' "
                    "FROM generate_series(1, {}) AS n",
                    kUsers));
    expect_in_step();
    groups_sql(
        "INSERT INTO players SELECT id, 0 FROM lookup_users;"
        "INSERT INTO groups SELECT 'alone ' || id, 1, 'open' FROM lookup_users;"
        "INSERT INTO memberships SELECT 'alone ' || id, id FROM lookup_users;"
        "INSERT INTO groups SELECT 'all', count(*), 'open' FROM lookup_users;"
        "INSERT INTO memberships SELECT 'all', id FROM lookup_users");

    const auto rename_all = [this](int number) {
        auth_sql(fmt::format("UPDATE users SET name = 'name {}'", number));
    };
    // What is handled while Kafka is away cannot be acknowledged, and comes again.
    PostgresSession writer(groups_.url());
    writer.run("BEGIN; LOCK TABLE player_names");
    rename_all(1);
    ASSERT_TRUE(eventually([this] {
        return groups_sql(
                   "SELECT count(*) FROM pg_locks WHERE relation = "
                   "'player_names'::regclass AND NOT granted") != "0";
    }));
    kafka_.kill();
    writer.run("COMMIT");
    ASSERT_TRUE(eventually([this] {
        return groups_sql("SELECT count(*) FROM player_names WHERE number = 2") != "0";
    }));
    kill("groups");
    kafka_.start();
    rename_all(2);
    kill("auth");
    rename_all(3);
    auth_sql("DELETE FROM users WHERE id LIKE '%7'");
    start("groups");
    start("auth");
    ASSERT_TRUE(
        eventually([this] { return groups_sql("SELECT count(*) FROM departures") != "0"; }));
    kill("groups");
    rename_all(4);
    start("groups");
    expect_in_step();

    EXPECT_EQ(groups_sql("SELECT count(*) FROM lookup_users WHERE name = 'name 4'"), "270");
    EXPECT_EQ(groups_sql("SELECT string_agg(DISTINCT names, ' | ') FROM (SELECT user_id, "
                         "string_agg(name, ', ' ORDER BY number) AS names FROM player_names "
                         "GROUP BY user_id) AS n"),
              "name 0, name 1, name 2, name 3, name 4");
    EXPECT_EQ(groups_sql("SELECT count(DISTINCT user_id) FROM player_names"), "270");
    EXPECT_EQ(groups_sql("SELECT count(*) || ' ' || count(DISTINCT user_id) || ' ' || "
                         "sum(groups_left) FROM departures"),
              "30 30 60");
    EXPECT_EQ(groups_sql("SELECT count(*) FROM groups WHERE state = 'closed'"), "30");
    EXPECT_EQ(groups_sql("SELECT members FROM groups WHERE name = 'all'"), "270");
    EXPECT_EQ(groups_sql("SELECT count(*) FROM memberships WHERE user_id LIKE '%7'"), "0");
    EXPECT_EQ(groups_sql("SELECT count(*) FROM instep.parked_key"), "0");
    stop("groups");
    stop("auth");
}

TEST_F(PlayballTest, AUserCanCreateAGroupOnceInStepAndNotAfterTheAccountIsDeleted) {
    start("auth");
    start("groups");
    expect_in_step();
    stop("groups");
    const std::string ada = given_user("ada");
    expect_refused("groups", {"create", "chess", ada}, "has not arrived yet: try again");
    EXPECT_EQ(groups_sql("SELECT count(*) FROM groups"), "0");
    start("groups");
    expect_in_step();
    expect_ok("groups", {"create", "chess", ada});
    expect_refused("groups", {"create", "chess", ada}, "is taken");
    expect_ok("auth", {"rename", ada, "Ada Lovelace"});
    expect_in_step();
    EXPECT_EQ(command("groups", {"list"}).out, "chess (open): Ada Lovelace;\n");

    auth_sql("UPDATE users SET password_hash = '$argon2id$not-for-others'");
    EXPECT_EQ(auth_sql("SELECT count(*) FROM instep.log WHERE type <> 'user.created' AND type "
                       "<> 'user.updated'"),
              "0");
    EXPECT_EQ(auth_sql("SELECT count(*) FROM instep.log l WHERE l::text ~ 'argon2|ada@x'"), "0");

    // The handler has dealt with the deletion; the replica, which goes its own way, stands for one
    // that has not.
    expect_ok("auth", {"delete", ada});
    expect_in_step();
    groups_sql("INSERT INTO lookup_users (id, name) VALUES ('" + ada + "', 'late')");
    expect_refused("groups", {"create", "tennis", ada}, "was deleted");
    EXPECT_EQ(command("groups", {"list"}).out, "chess (closed):\n");
}

TEST_F(PlayballTest, TheSameIsDoneByHttp) {
    start("auth");
    start("groups");
    expect_in_step();
    const HttpResponse registered =
        post("auth", "/register",
             R"({"username": "ada", "name": "Ada \"A\" Byron", "email": "ada@x.org"})");
    EXPECT_EQ(registered.status, 200U) << registered.body;
    const std::string ada = auth_sql("SELECT id FROM users");
    EXPECT_EQ(registered.body, R"({"result":")" + ada + R"("})");
    expect_in_step();

    const std::string chess = R"({"group": "chess", "user_id": ")" + ada + R"("})";
    expect_answer("groups", "/create", chess, 200, "chess is created");
    expect_answer("groups", "/create", chess, 409, "is taken");
    expect_answer("groups", "/create", R"({"group": "go", "user_id": "nobody"})", 404,
                  "has not arrived yet: try again");
    expect_answer("groups", "/create", R"({"group": "go"})", 400, "user_id: is missing");
    expect_answer("groups", "/create", R"({"group": 7, "user_id": "x"})", 400, "group: ");
    expect_answer("groups", "/create", "{", 400, "the body: ");
    expect_answer("groups", "/disband", "{}", 404, "");
    expect_answer("groups", "/list", "{}", 200, R"(chess (open): Ada \"A\" Byron;)");
    EXPECT_EQ(groups_sql("SELECT count(*) FROM groups"), "1");
}

TEST_F(PlayballTest, TheScriptRunsOnServersAndLeavesNoDatabase) {
    ProcessOptions options;
    options.arguments = {"--servers"};
    const std::string postgres = PostgresServer::shared().url("");
    options.environment = {{"INSTEP", INSTEP_PROGRAM},
                           {"INSTEP_EXAMPLE", PLAYBALL_PROGRAMS},
                           {"DATABASE_URL", postgres},
                           {"BROKER_URL", kafka_.url()}};
    Process script(fmt::format("{}/run", PLAYBALL_FOLDER), options);
    const Finished finished = script.wait(4 * kPatience);
    EXPECT_EQ(finished.exit, 0) << finished.out << finished.err;
    EXPECT_THAT(finished.out, HasSubstr("the group that was left empty is closed"));
    EXPECT_EQ(run_postgres(PostgresServer::shared().url(),
                           "SELECT count(*) FROM pg_database WHERE datname ~ '^playball'"),
              "0");
}

TEST(PlayballScriptTest, RunsWithoutAServer) {
    ProcessOptions options;
    options.environment = {{"INSTEP", INSTEP_PROGRAM}, {"INSTEP_EXAMPLE", PLAYBALL_PROGRAMS}};
    Process script(fmt::format("{}/run", PLAYBALL_FOLDER), options);
    const Finished finished = script.wait(4 * kPatience);
    EXPECT_EQ(finished.exit, 0) << finished.out << finished.err;
    EXPECT_THAT(finished.out, HasSubstr("the group that was left empty is closed"));
}

}  // namespace
}  // namespace instep::test
