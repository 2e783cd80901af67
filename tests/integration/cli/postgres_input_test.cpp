// What a service on PostgreSQL may find wrong, as people and scripts are told of it: by `check`
// with 8, by the other commands with the code of the failure, and nothing is made half-way.
#include "tests/integration/cli/cli_fixture.hpp"
#include "tests/support/postgres_database.hpp"

#include <fmt/format.h>

#include <csignal>

namespace instep::test {
namespace {

class PostgresInputTest : public CliTest {
protected:
    std::string run_sql(std::string_view statements) const {
        return run_postgres(database_.url(), std::string(statements));
    }

    void given_owner(std::string_view table, std::string_view columns = "'id', 'name'",
                     std::string_view url = {}) const {
        given_file("iam.toml",
                   fmt::format("[service]\nname = 'iam'\ndatabase = '{}'\n"
                               "broker = 'embedded:broker.db'\n[[publish]]\ntable = '{}'\n"
                               "entity = 'user'\ncolumns = [{}]\n",
                               url.empty() ? database_.url() : url, table, columns));
    }

    void given_holder(std::string_view table) const {
        given_file("crm.toml", fmt::format("[service]\nname = 'crm'\ndatabase = '{}'\n"
                                           "broker = 'embedded:broker.db'\n[[replica]]\n"
                                           "topic = 'iam.user'\ntable = '{}'\n",
                                           replicas_.url(), table));
    }

    void expect_says(const std::vector<std::string>& arguments, int exit,
                     const std::string& words) const {
        const Finished finished = run(arguments);
        EXPECT_EQ(finished.exit, exit) << arguments.front() << ": " << finished.out << finished.err;
        EXPECT_NE((finished.out + finished.err).find(words), std::string::npos)
            << arguments.front() << ": " << finished.out << finished.err;
    }

    void expect_refused(int exit, const std::string& words) const {
        expect_says({"check", "iam.toml"}, 8, words);
        expect_says({"plan", "iam.toml"}, exit, words);
        expect_says({"apply", "iam.toml"}, exit, words);
        expect_says({"run", "iam.toml", "--apply"}, exit, words);
        EXPECT_EQ(run_sql("SELECT to_regnamespace('instep') IS NULL"), "t");
    }

    PostgresDatabase database_;
    PostgresDatabase replicas_;
};

TEST_F(PostgresInputTest, AWrongDatabaseNameIsFive) {
    run_sql("CREATE TABLE users (id int PRIMARY KEY, name text)");
    given_owner("users", "'id', 'name'", PostgresServer::shared().url("nowhere"));
    expect_refused(5, "database \"nowhere\" does not exist");
}

TEST_F(PostgresInputTest, AServerThatIsDownIsFour) {
    given_owner("users", "'id', 'name'", "postgresql://tester@127.0.0.1:1/iam");
    expect_says({"check", "iam.toml"}, 8, "cannot be reached");
    expect_says({"plan", "iam.toml"}, 4, "cannot be reached");
    expect_says({"apply", "iam.toml"}, 4, "cannot be reached");
    // A service waits for its servers.
    Process waiting(INSTEP_PROGRAM, options({"run", "iam.toml", "--apply"}));
    EXPECT_TRUE(waiting.complains("cannot be reached"));
    EXPECT_TRUE(waiting.complains("run.waiting"));
    waiting.signal(SIGTERM);
    EXPECT_EQ(waiting.wait().exit, 0);
}

TEST_F(PostgresInputTest, MissingRightsAreFour) {
    run_sql(
        "CREATE ROLE clerk LOGIN; CREATE TABLE users (id int PRIMARY KEY, name text);"
        "ALTER TABLE users OWNER TO clerk");
    std::string url = database_.url();
    given_owner("users", "'id', 'name'", url.replace(url.find("tester"), 6, "clerk"));
    expect_says({"check", "iam.toml"}, 8, "CREATE SCHEMA instep AUTHORIZATION clerk;");
    expect_says({"apply", "iam.toml"}, 4, "CREATE SCHEMA instep AUTHORIZATION clerk;");
    expect_says({"run", "iam.toml"}, 4, "CREATE SCHEMA instep AUTHORIZATION clerk;");
    EXPECT_EQ(run_sql("SELECT to_regnamespace('instep') IS NULL"), "t");
    run_sql("CREATE SCHEMA instep AUTHORIZATION clerk");
    expect_says({"apply", "iam.toml"}, 0, "publish user from table users");
    expect_says({"check", "iam.toml"}, 0, "No problems");
    run_sql("ALTER TABLE users OWNER TO tester");
    expect_says({"check", "iam.toml"}, 8, "GRANT SELECT ON users TO clerk;");
    expect_says({"run", "iam.toml"}, 4, "may not read id, name of it");
    run_sql("DROP OWNED BY clerk CASCADE; DROP ROLE clerk");
}

TEST_F(PostgresInputTest, AnUnknownTableOrColumnIsFiveWithTheNearest) {
    run_sql("CREATE SCHEMA sales; CREATE TABLE sales.users (id int PRIMARY KEY, name text)");
    given_owner("sales.user");
    expect_refused(5, "did you mean sales.users?");
    given_owner("sales.users", "'id', 'nome'");
    expect_refused(5, "did you mean name?");
}

TEST_F(PostgresInputTest, AKeyThatKeepsNoRowsApartIsOne) {
    run_sql("CREATE TABLE users (id int, name text)");
    given_owner("users");
    expect_refused(1, "table users has no primary key");
    run_sql("ALTER TABLE users ADD PRIMARY KEY (name)");
    expect_refused(1, "is not its primary key [name]");
    run_sql("CREATE TABLE spans (id real PRIMARY KEY, name text)");
    given_owner("spans");
    expect_refused(1, "cannot be a key: it is real");
}

TEST_F(PostgresInputTest, AReplicaTableWithAnotherKeyIsThree) {
    run_sql("CREATE TABLE users (id int PRIMARY KEY, name text)");
    given_owner("users");
    given_holder("people");
    run_postgres(replicas_.url(), "CREATE TABLE people (name text PRIMARY KEY)");
    const std::string words = "table people has primary key (name), but the replica needs (id)";
    expect_says({"plan", "iam.toml", "crm.toml"}, 3, words);
    expect_says({"apply", "iam.toml", "crm.toml"}, 3, words);
    expect_says({"run", "iam.toml", "crm.toml", "--apply"}, 3, words);
    EXPECT_EQ(run_postgres(replicas_.url(), "SELECT to_regnamespace('instep') IS NULL"), "t");
}

TEST_F(PostgresInputTest, AReplicaTableGetsTheColumnsThatItLacks) {
    run_sql(
        "CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'a')");
    given_owner("users");
    given_holder("people");
    run_postgres(replicas_.url(), "CREATE TABLE people (id int PRIMARY KEY, branch text)");
    expect_says({"plan", "iam.toml", "crm.toml"}, 0, "add column name to replica people");
    expect_says({"apply", "iam.toml", "crm.toml"}, 0, "add column name to replica people");
    expect_says({"verify", "iam.toml", "crm.toml"}, 0, "");
    EXPECT_EQ(run_postgres(replicas_.url(), "SELECT name FROM people"), "a");
}

TEST_F(PostgresInputTest, AColumnThatWentWhilePublishedStopsRun) {
    run_sql("CREATE TABLE users (id int PRIMARY KEY, name text, email text)");
    given_owner("users", "'id', 'name', 'email'");
    expect_says({"apply", "iam.toml"}, 0, "publish user");
    run_sql("ALTER TABLE users DROP COLUMN email CASCADE");
    expect_says({"check", "iam.toml"}, 8, "table users has no column email");
    expect_says({"run", "iam.toml"}, 5, "table users has no column email");
    given_owner("users");
    expect_says({"plan", "iam.toml"}, 0, "change the contract of user from version 1 to 2");
    expect_says({"apply", "iam.toml"}, 0, "change the contract of user from version 1 to 2");
    expect_says({"check", "iam.toml"}, 0, "No problems");
}

TEST_F(PostgresInputTest, NamesOfOtherSchemasAndOddNamesWork) {
    run_sql(
        "CREATE SCHEMA \"Sales\"; CREATE TABLE \"Sales\".\"Order \"\"Items\"\"\" (id int PRIMARY "
        "KEY, \"It's a \\ name\" text);"
        "INSERT INTO \"Sales\".\"Order \"\"Items\"\"\" VALUES (1, 'a'), (2, 'b')");
    run_postgres(replicas_.url(), "CREATE SCHEMA archive");
    given_file("iam.toml", fmt::format("[service]\nname = 'iam'\ndatabase = '{}'\n"
                                       "broker = 'embedded:broker.db'\n[[publish]]\n"
                                       "table = 'Sales.Order \"Items\"'\nentity = 'user'\n"
                                       "columns = ['id', \"It's a \\\\ name\"]\n",
                                       database_.url()));
    given_holder("archive.Order Items");
    expect_says({"apply", "iam.toml", "crm.toml"}, 0, "create replica table archive.Order Items");
    run_sql("UPDATE \"Sales\".\"Order \"\"Items\"\"\" SET \"It's a \\ name\" = 'c' WHERE id = 2");
    expect_says({"verify", "iam.toml", "crm.toml"}, 0, "");
    expect_says({"check", "iam.toml", "crm.toml"}, 0, "No problems");
    EXPECT_EQ(run_postgres(replicas_.url(),
                           "SELECT string_agg(\"It's a \\ name\", ',' ORDER BY id) FROM "
                           "archive.\"Order Items\""),
              "a,c");
}

}  // namespace
}  // namespace instep::test
