#include "check_postgres.hpp"

#include "instep/service/service.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/pgbouncer.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/postgres_session.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace instep {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::string_view kUsers = "CREATE TABLE users (id bigint PRIMARY KEY, name text)";

class CheckPostgresTest : public testing::Test {
protected:
    explicit CheckPostgresTest(test::PostgresServer& server = test::PostgresServer::shared())
        : database_(server) {}

    [[nodiscard]] ServiceConfig config(const std::string& url, std::string_view entries) const {
        return parse_service_file(fmt::format("[service]\nname = 'iam'\ndatabase = '{}'\n"
                                              "broker = 'embedded:broker.db'\n{}",
                                              url, entries),
                                  dir_.file("service.toml"), process_environment())
            .value();
    }

    [[nodiscard]] ServiceConfig owner(std::string_view table = "users",
                                      std::string_view columns = "'id', 'name'",
                                      std::string_view key = "'id'") const {
        return config(database_.url(),
                      fmt::format("[[publish]]\ntable = '{}'\nentity = 'user'\nkey = [{}]\n"
                                  "columns = [{}]\n",
                                  table, key, columns));
    }

    [[nodiscard]] ServiceConfig holder(std::string_view table = "people",
                                       std::string_view columns = "['id', 'name']") const {
        return config(database_.url(), fmt::format("[[replica]]\ntopic = 'crm.person'\n"
                                                   "table = '{}'\ncolumns = {}\n",
                                                   table, columns));
    }

    std::string run_sql(std::string_view statements) const {
        return test::run_postgres(database_.url(), std::string(statements));
    }

    /// The database's URL as a user who is nobody special.
    [[nodiscard]] std::string url_of(const std::string& user) const {
        std::string url = database_.url();
        return url.replace(url.find("tester"), 6, user);
    }

    void given_user(const std::string& name) {
        run_sql("DROP ROLE IF EXISTS " + name + "; CREATE ROLE " + name + " LOGIN");
        users_.push_back(name);
    }

    /// "severity subject: message | fix", one a finding.
    std::vector<std::string> check(const ServiceConfig& config) {
        const auto found = check_service(config, clock_);
        EXPECT_TRUE(found) << found.error().message;
        std::vector<std::string> texts;
        for (const Finding& finding : found.value_or(std::vector<Finding>{})) {
            texts.push_back(text_of(finding));
        }
        return texts;
    }

    std::vector<std::string> look(const ServerCheck& check) {
        const auto database = open_database(std::string(check.url), clock_).value();
        const auto connection = database->connect().value();
        Findings findings;
        const auto looked = look_at_server(*connection, check, clock_, findings);
        EXPECT_TRUE(looked) << looked.error().message;
        std::vector<std::string> texts;
        for (const Finding& finding : findings.all()) {
            texts.push_back(text_of(finding));
        }
        return texts;
    }

    static std::string text_of(const Finding& finding) {
        constexpr std::string_view kNames[] = {"note", "warning", "problem"};
        return fmt::format("{} {}: {} | {}", kNames[static_cast<int>(finding.severity)],
                           finding.subject, finding.message, finding.fix);
    }

    /// The SQL that a finding proposes.
    std::string fix_of(const ServiceConfig& config, std::string_view message) {
        for (const std::string& text : check(config)) {
            if (text.contains(message)) {
                return text.substr(text.find(" | ") + 3);
            }
        }
        ADD_FAILURE() << "nothing says: " << message;
        return "";
    }

    ~CheckPostgresTest() override {
        for (const std::string& user : users_) {
            run_sql("DROP OWNED BY " + user + " CASCADE; DROP ROLE " + user);
        }
    }

    test::PostgresDatabase database_;
    test::TempDir dir_;
    SystemClock clock_;
    std::vector<std::string> users_;
};

TEST_F(CheckPostgresTest, FindsNoProblemInASoundService) {
    run_sql(kUsers);
    EXPECT_THAT(check(owner()), Contains(HasSubstr("not in force yet: publish user")));
    ASSERT_TRUE(apply_service(owner(), clock_, {}));
    const auto found = check(owner());
    EXPECT_THAT(found, Each(Not(HasSubstr("problem"))));
    EXPECT_THAT(found, Contains(HasSubstr("note server: PostgreSQL ")));
    EXPECT_THAT(found, Contains(HasSubstr("wal_level is logical")));
}

TEST_F(CheckPostgresTest, ChangesNothingByLooking) {
    run_sql(kUsers);
    check(owner());
    EXPECT_EQ(run_sql("SELECT to_regnamespace('instep') IS NULL"), "t");
}

TEST_F(CheckPostgresTest, TellsWhyItCannotConnect) {
    ServiceConfig missing = owner();
    missing.database = test::PostgresServer::shared().url("nowhere");
    EXPECT_THAT(check(missing), Contains(AllOf(HasSubstr("problem database"), HasSubstr("nowhere"),
                                               HasSubstr("CREATE DATABASE"))));
    ServiceConfig down = owner();
    down.database = "postgresql://tester@127.0.0.1:1/iam";
    EXPECT_THAT(check(down),
                Contains(AllOf(HasSubstr("cannot be reached"), HasSubstr("start the server"))));
    ServiceConfig stranger = owner();
    stranger.database = url_of("nobody_knows");
    EXPECT_THAT(check(stranger), Contains(HasSubstr("check user, password and pg_hba.conf")));
}

TEST_F(CheckPostgresTest, TellsOfAWrongPasswordWithoutShowingIt) {
    test::PostgresServer server;
    test::run_postgres(server.url(), "CREATE ROLE clerk LOGIN PASSWORD 'right'");
    std::ofstream(server.folder() + "/data/pg_hba.conf")
        << "host all clerk 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n";
    test::run_postgres(server.url(), "SELECT pg_reload_conf()");
    ServiceConfig wrong = owner();
    wrong.database = fmt::format("postgresql://clerk:hunter2@127.0.0.1:{}/postgres", server.port());
    const auto found = check(wrong);
    EXPECT_THAT(found, Contains(HasSubstr("password authentication failed")));
    EXPECT_THAT(found, Each(Not(HasSubstr("hunter2"))));
}

TEST_F(CheckPostgresTest, RefusesToBeginWithoutTheRightToASchema) {
    given_user("clerk_a");
    run_sql(std::string(kUsers) + "; ALTER TABLE users OWNER TO clerk_a");
    ServiceConfig service = owner();
    service.database = url_of("clerk_a");
    const std::string fix = fix_of(service, "may not make the schema instep");
    EXPECT_EQ(fix, "CREATE SCHEMA instep AUTHORIZATION clerk_a;");
    const auto applied = apply_service(service, clock_, {});
    ASSERT_FALSE(applied);
    EXPECT_EQ(applied.error().code, ErrorCode::kPermissionDenied);
    run_sql(fix);
    const auto again = apply_service(service, clock_, {});
    EXPECT_TRUE(again) << again.error().message;
    EXPECT_THAT(check(service), Each(Not(HasSubstr("problem"))));
}

TEST_F(CheckPostgresTest, RefusesToBeginWithATableOfSomebodyElse) {
    given_user("clerk_b");
    given_user("boss_b");
    run_sql(std::string(kUsers) +
            "; ALTER TABLE users OWNER TO boss_b; CREATE SCHEMA instep AUTHORIZATION clerk_b");
    ServiceConfig service = owner();
    service.database = url_of("clerk_b");
    run_sql(fix_of(service, "may not read id, name of it"));
    const std::string fix = fix_of(service, "it belongs to boss_b, and user clerk_b is no member");
    EXPECT_EQ(fix, "GRANT boss_b TO clerk_b;");
    const auto applied = apply_service(service, clock_, {});
    ASSERT_FALSE(applied);
    EXPECT_EQ(applied.error().code, ErrorCode::kPermissionDenied);
    EXPECT_EQ(run_sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'instep'"), "0");
    run_sql(fix);
    const auto again = apply_service(service, clock_, {});
    EXPECT_TRUE(again) << again.error().message;
}

TEST_F(CheckPostgresTest, FindsASchemaOfSomebodyElse) {
    given_user("clerk_c");
    run_sql("CREATE SCHEMA instep; GRANT CREATE ON SCHEMA public TO clerk_c");
    ServiceConfig service = holder();
    service.database = url_of("clerk_c");
    EXPECT_THAT(check(service),
                Contains(AllOf(HasSubstr("problem schema instep: belongs to tester"),
                               HasSubstr("GRANT USAGE, CREATE ON SCHEMA instep"))));
    run_sql("DROP SCHEMA instep");
    ASSERT_TRUE(apply_service(holder(), clock_, {}));
    run_sql("GRANT USAGE, CREATE ON SCHEMA instep TO clerk_c");
    EXPECT_THAT(check(service), Contains(AllOf(HasSubstr("its tables belong to tester"),
                                               HasSubstr("GRANT tester TO clerk_c;"))));
}

TEST_F(CheckPostgresTest, FindsAUserCalledAsTheSchema) {
    given_user("instep");
    run_sql(std::string(kUsers) + "; ALTER TABLE users OWNER TO instep; GRANT CREATE ON DATABASE " +
            database_.name() + " TO instep");
    ServiceConfig service = owner();
    service.database = url_of("instep");
    const std::string fix = fix_of(service, "the user is called instep");
    EXPECT_EQ(apply_service(service, clock_, {}).error().code, ErrorCode::kPermissionDenied);
    EXPECT_EQ(run_sql("SELECT to_regnamespace('instep') IS NULL"), "t");
    run_sql(fix);
    EXPECT_TRUE(apply_service(service, clock_, {}));
}

TEST_F(CheckPostgresTest, FindsThatAReplicaHasNoPlace) {
    given_user("clerk_d");
    run_sql(
        "CREATE SCHEMA instep AUTHORIZATION clerk_d; CREATE TABLE people (id int PRIMARY KEY, "
        "name text)");
    ServiceConfig service = holder("directory");
    service.database = url_of("clerk_d");
    EXPECT_THAT(check(service), Contains(AllOf(HasSubstr("may not make its table in schema public"),
                                               HasSubstr("GRANT USAGE, CREATE ON SCHEMA public"))));
    service = holder("sales.people");
    service.database = url_of("clerk_d");
    EXPECT_THAT(check(service),
                Contains(AllOf(HasSubstr("there is no schema sales"),
                               HasSubstr("CREATE SCHEMA sales AUTHORIZATION clerk_d;"))));
    service = holder("people");
    service.database = url_of("clerk_d");
    EXPECT_THAT(check(service),
                Contains(AllOf(HasSubstr("lacks rights on its table: SELECT, INSERT"),
                               HasSubstr("GRANT SELECT, INSERT, UPDATE, DELETE ON people TO "
                                         "clerk_d;"))));
}

TEST_F(CheckPostgresTest, WarnsOfSettingsThatLoseCommits) {
    test::PostgresServer server(
        {.settings = {"fsync = off", "full_page_writes = off", "synchronous_commit = off"}});
    const auto found = look({.url = server.url()});
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("warning server: fsync is off"),
                                      HasSubstr("ALTER SYSTEM SET fsync = on;"))));
    EXPECT_THAT(found, Contains(HasSubstr("warning server: full_page_writes is off")));
    EXPECT_THAT(found, Contains(HasSubstr("warning server: synchronous_commit is off")));
}

TEST_F(CheckPostgresTest, AsksMoreOfTheServerForTheWal) {
    test::PostgresServer server({.settings = {"wal_level = replica", "max_replication_slots = 0"}});
    test::run_postgres(server.url(), "CREATE ROLE clerk LOGIN");
    const std::string url = fmt::format("postgresql://clerk@127.0.0.1:{}/postgres", server.port());
    EXPECT_THAT(look({.url = url}), Contains(AllOf(HasSubstr("note server: wal_level is replica"),
                                                   HasSubstr("triggers need none of it"))));
    const auto found = look({.url = url, .capture = CaptureBy::kWal});
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("problem server: wal_level is replica"),
                                      HasSubstr("ALTER SYSTEM SET wal_level = logical;"))));
    EXPECT_THAT(found, Contains(HasSubstr("every replication slot is taken")));
    EXPECT_THAT(found, Contains(HasSubstr("ALTER ROLE clerk REPLICATION;")));
}

TEST_F(CheckPostgresTest, NotesAPooler) {
    const test::PgBouncer pooler(test::PostgresServer::shared());
    const std::string url = pooler.url(database_.name());
    EXPECT_THAT(look({.url = url}), Contains(HasSubstr("note server: a transaction-mode pooler")));
    EXPECT_THAT(look({.url = url, .capture = CaptureBy::kWal}),
                Contains(HasSubstr("problem server: a transaction-mode pooler")));
    EXPECT_THAT(look({.url = database_.url()}), Each(Not(HasSubstr("pooler"))));
}

TEST_F(CheckPostgresTest, WarnsWhenClocksDiffer) {
    test::ManualClock slow;
    const auto connection = open_database(database_.url(), slow).value()->connect().value();
    Findings findings;
    ASSERT_TRUE(look_at_server(*connection, {.url = database_.url()}, slow, findings));
    std::vector<std::string> texts;
    for (const Finding& finding : findings.all()) {
        texts.push_back(text_of(finding));
    }
    EXPECT_THAT(texts, Contains(AllOf(HasSubstr("its clock is"), HasSubstr("this machine's"))));
    EXPECT_THAT(look({.url = database_.url()}), Each(Not(HasSubstr("its clock is"))));
}

class CheckPreparedTest : public CheckPostgresTest {
protected:
    CheckPreparedTest() : CheckPostgresTest(test::PostgresServer::with_prepared_transactions()) {}
};

TEST_F(CheckPreparedTest, WarnsOfTransactionsThatStayOpen) {
    run_sql(kUsers);
    test::PostgresSession session(database_.url());
    const std::string pid = session.run("BEGIN; SELECT pg_backend_pid()");
    run_sql("BEGIN; INSERT INTO users VALUES (1, 'a'); PREPARE TRANSACTION 'forgotten'");
    const std::string url = database_.url();
    const ServerCheck at_once{.url = url, .transaction_age_max = std::chrono::seconds(0)};
    const auto found = look(at_once);
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("process " + pid + " of user tester"),
                                      HasSubstr("pg_terminate_backend(" + pid + ")"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("transaction forgotten of user tester"),
                                      HasSubstr("ROLLBACK PREPARED 'forgotten';"))));
    EXPECT_THAT(look({.url = database_.url()}), Each(Not(HasSubstr("process " + pid))));
    run_sql("ROLLBACK PREPARED 'forgotten'");
}

TEST_F(CheckPostgresTest, WarnsOfSessionsWithoutTriggers) {
    run_sql("ALTER DATABASE " + database_.name() + " SET session_replication_role = replica");
    EXPECT_THAT(look({.url = database_.url()}),
                Contains(HasSubstr("ALTER DATABASE " + database_.name() +
                                   " RESET session_replication_role;")));
}

TEST_F(CheckPostgresTest, WarnsOfEventsWithoutAPartition) {
    run_sql(kUsers);
    ASSERT_TRUE(apply_service(owner(), clock_, {}));
    run_sql("SELECT setval('instep.log_seq', 2000000000); INSERT INTO users VALUES (1, 'a')");
    EXPECT_THAT(check(owner()),
                Contains(HasSubstr("warning log: 1 events are in the default partition")));
}

TEST_F(CheckPostgresTest, WarnsOfTablesThatLoseChanges) {
    run_sql("CREATE UNLOGGED TABLE users (id bigint PRIMARY KEY, name text)");
    const std::string fix = fix_of(owner(), "is unlogged");
    run_sql(fix);
    run_sql("CREATE TABLE clerks (rank int) INHERITS (users)");
    const auto found = check(owner());
    EXPECT_THAT(found, Each(Not(HasSubstr("is unlogged"))));
    EXPECT_THAT(found, Contains(HasSubstr("tables inherit from it (clerks)")));
}

TEST_F(CheckPostgresTest, NotesWhatPartitionedTablesDoNotShow) {
    run_sql(
        "CREATE TABLE users (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id);"
        "CREATE TABLE users_1 PARTITION OF users DEFAULT");
    EXPECT_THAT(check(owner()), Contains(HasSubstr("TRUNCATE of a single partition")));
}

TEST_F(CheckPostgresTest, WarnsOfTriggersThatFireFirst) {
    run_sql(std::string(kUsers) +
            "; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            "CREATE TRIGGER \"!first\" AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION f();"
            "CREATE TRIGGER before BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION f();"
            "CREATE TRIGGER z_last AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION f()");
    const std::string fix = fix_of(owner(), "trigger !first fires before the capture");
    EXPECT_EQ(fix, "ALTER TRIGGER \"!first\" ON users RENAME TO \"a_!first\";");
    run_sql(fix);
    EXPECT_THAT(check(owner()), Each(Not(HasSubstr("fires before the capture"))));
}

TEST_F(CheckPostgresTest, FindsRowsThatPoliciesHide) {
    given_user("clerk_e");
    run_sql(std::string(kUsers) +
            "; ALTER TABLE users OWNER TO clerk_e;"
            "CREATE SCHEMA instep AUTHORIZATION clerk_e;"
            "ALTER TABLE users ENABLE ROW LEVEL SECURITY");
    ServiceConfig service = owner();
    service.database = url_of("clerk_e");
    EXPECT_THAT(check(service), Contains(HasSubstr("note table users: has row-level security")));
    run_sql("ALTER TABLE users FORCE ROW LEVEL SECURITY");
    run_sql(fix_of(service, "problem table users: row-level security hides rows"));
    EXPECT_THAT(check(service), Each(Not(HasSubstr("hides rows"))));
}

TEST_F(CheckPostgresTest, ProposesAnIndexInTheOrderOfBytes) {
    run_sql(
        "CREATE TYPE rank AS ENUM ('b', 'a');"
        "CREATE TABLE a (id text PRIMARY KEY);"
        "CREATE TABLE b (id varchar(20), n int, PRIMARY KEY (n, id));"
        "CREATE TABLE c (id char(3) PRIMARY KEY);"
        "CREATE TABLE d (id text COLLATE \"C\" PRIMARY KEY);"
        "CREATE TABLE e (id uuid PRIMARY KEY);"
        "CREATE TABLE f (id rank PRIMARY KEY);"
        "CREATE TABLE g (id text PRIMARY KEY) PARTITION BY HASH (id);"
        "CREATE TABLE g_1 PARTITION OF g FOR VALUES WITH (MODULUS 1, REMAINDER 0)");
    constexpr std::string_view kMessage = "backfill and verify sort the table";
    EXPECT_EQ(fix_of(owner("a", "'id'"), kMessage),
              "CREATE INDEX CONCURRENTLY ON a (\"id\" COLLATE \"C\");");
    for (const char* const table : {"a", "g"}) {
        run_sql(fix_of(owner(table, "'id'"), kMessage));
        EXPECT_THAT(check(owner(table, "'id'")), Each(Not(HasSubstr(kMessage)))) << table;
    }
    const ServiceConfig composite = owner("b", "'id', 'n'", "'n', 'id'");
    run_sql(fix_of(composite, kMessage));
    EXPECT_THAT(check(composite), Each(Not(HasSubstr(kMessage))));
    EXPECT_THAT(check(owner("d", "'id'")), Each(Not(HasSubstr(kMessage))));
    EXPECT_THAT(check(owner("e", "'id'")), Each(Not(HasSubstr(kMessage))));
    EXPECT_THAT(fix_of(owner("c", "'id'"), kMessage), HasSubstr("use a key of another type"));
    EXPECT_THAT(fix_of(owner("f", "'id'"), kMessage), HasSubstr("use a key of another type"));
}

TEST_F(CheckPostgresTest, NotesHowOddTypesTravel) {
    run_sql(
        "CREATE TYPE place AS (x int, y int);"
        "CREATE TABLE users (id int PRIMARY KEY, pay money, doc xml, home place, name text)");
    const auto found = check(owner("users", "'id', 'pay', 'doc', 'home'"));
    EXPECT_THAT(found, Contains(HasSubstr("column pay is money and travels as text")));
    EXPECT_THAT(found, Contains(HasSubstr("column doc is xml and travels as its text")));
    EXPECT_THAT(found, Contains(HasSubstr("column home is place and travels as the text")));
    EXPECT_THAT(check(owner("users", "'id', 'name'")), Each(Not(HasSubstr("travels"))));
}

TEST_F(CheckPostgresTest, AsksForAReplicaIdentityOnlyForTheWal) {
    run_sql(std::string(kUsers) + "; ALTER TABLE users REPLICA IDENTITY NOTHING");
    EXPECT_THAT(check(owner()), Each(Not(HasSubstr("replica identity"))));
    const auto connection = open_database(database_.url(), clock_).value()->connect().value();
    const Contract contract = bind_contract(*connection, "iam", owner().publish.front()).value();
    Findings findings;
    ASSERT_TRUE(look_at_published(*connection, contract, CaptureBy::kWal, findings));
    EXPECT_THAT(text_of(findings.all().front()),
                AllOf(HasSubstr("problem table users: its replica identity"),
                      HasSubstr("ALTER TABLE users REPLICA IDENTITY DEFAULT;")));
}

TEST_F(CheckPostgresTest, FindsKeysThatCannotBe) {
    run_sql("CREATE TABLE users (id bigint, name text)");
    const std::string fix = fix_of(owner(), "table users has no primary key");
    EXPECT_EQ(fix, "ALTER TABLE \"users\" ADD PRIMARY KEY (\"id\");");
    run_sql(fix);
    EXPECT_THAT(check(owner()), Each(Not(HasSubstr("no primary key"))));
    run_sql("CREATE TABLE spans (id real PRIMARY KEY)");
    EXPECT_THAT(check(owner("spans", "'id'")), Contains(HasSubstr("cannot be a key: it is real")));
}

TEST_F(CheckPostgresTest, FindsTheNearestTableOfAnotherSchema) {
    run_sql("CREATE SCHEMA sales; CREATE TABLE sales.orders (id int PRIMARY KEY)");
    EXPECT_THAT(check(owner("sales.order", "'id'")),
                Contains(HasSubstr("did you mean sales.orders?")));
    EXPECT_THAT(check(owner("sales.orders", "'id'")), Each(Not(HasSubstr("there is no table"))));
}

TEST_F(CheckPostgresTest, WarnsOfConstraintsOnReplicas) {
    run_sql(
        "CREATE TABLE people (id int PRIMARY KEY, name text UNIQUE);"
        "CREATE UNIQUE INDEX people_lower ON people (lower(name));"
        "CREATE TABLE orders (id int PRIMARY KEY, person int REFERENCES people (id))");
    const auto found = check(holder());
    EXPECT_THAT(found,
                Contains(AllOf(HasSubstr("besides its key: people_name_key"),
                               HasSubstr("ALTER TABLE people DROP CONSTRAINT people_name_key; "
                                         "CREATE INDEX ON people (name);"))));
    EXPECT_THAT(
        found,
        Contains(HasSubstr("DROP INDEX people_lower; CREATE INDEX ON people (lower(name));")));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("a foreign key leads from orders to people"),
                                      HasSubstr("ALTER TABLE orders DROP CONSTRAINT "))));
}

TEST_F(CheckPostgresTest, TellsWhichForeignKeysLargeTransactionsMayFailAt) {
    run_sql(
        "CREATE TABLE people (id int PRIMARY KEY, name text);"
        "CREATE TABLE orders (id int PRIMARY KEY, person int REFERENCES people (id))");
    const ServiceConfig group =
        config(database_.url(),
               "[[replica]]\ntopic = 'crm.person'\ntable = 'people'\napply = 'transaction'\n"
               "[[replica]]\ntopic = 'crm.order'\ntable = 'orders'\napply = 'transaction'\n");
    EXPECT_THAT(check(group), Each(Not(HasSubstr("a foreign key leads"))));
    const std::string fix = fix_of(group, "the foreign key from orders to people is held at every");
    EXPECT_EQ(fix, "ALTER TABLE orders ALTER CONSTRAINT orders_person_fkey DEFERRABLE;");
    run_sql(fix);
    EXPECT_THAT(check(group), Each(Not(HasSubstr("foreign key"))));
}

TEST_F(CheckPostgresTest, WarnsOfReplicaColumnsThatDoNotFit) {
    run_sql(
        "CREATE TABLE people (id smallint PRIMARY KEY, name varchar(10) NOT NULL, age text, "
        "branch text NOT NULL, old text)");
    ServiceConfig service = holder("people", "['id', 'name', 'age']");
    ASSERT_TRUE(apply_service(service, clock_, {}));
    Contract contract;
    contract.service = "crm";
    contract.table = "persons";
    contract.entity = "person";
    contract.key = {"id"};
    contract.dialect = "postgres";
    contract.columns = {{"id", "integer", ValueKind::kInteger, true, false},
                        {"name", "character varying(50)", ValueKind::kText, false, false},
                        {"age", "integer", ValueKind::kInteger, false, false}};
    run_sql(
        fmt::format("INSERT INTO instep.replica (table_name, topic, state, contract, columns) "
                    "VALUES ('people', 'crm.person', 'live', '{}', "
                    "'[[\"id\",\"id\"],[\"name\",\"name\"],[\"age\",\"age\"]]')",
                    to_json(contract)));
    const auto found = check(service);
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("column id is smallint, narrower than the owner's"),
                                      HasSubstr("ALTER COLUMN id TYPE integer;"))));
    EXPECT_THAT(found, Contains(HasSubstr("ALTER COLUMN name TYPE character varying(50);")));
    EXPECT_THAT(found, Contains(HasSubstr("column name is NOT NULL here, but not at the owner")));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("column age is text, the owner's is integer"),
                                      HasSubstr("TYPE integer USING \"age\"::integer;"))));
    EXPECT_THAT(found, Contains(HasSubstr("problem replica people: column branch is NOT NULL")));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("column old is not in crm.person/1"),
                                      HasSubstr("ALTER TABLE people DROP COLUMN old;"))));
}

}  // namespace
}  // namespace instep
