#include "instep/service/service.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace instep {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// Plans, applications and checks of services in one folder.
class CheckTest : public testing::Test {
protected:
    [[nodiscard]] ServiceConfig config(std::string_view text) const {
        return parse_service_file(text, dir_.file("service.toml"), process_environment()).value();
    }

    [[nodiscard]] ServiceConfig owner() const {
        return config(
            "[service]\nname = 'iam'\ndatabase = 'sqlite:iam.db'\nbroker = 'embedded:broker.db'\n"
            "[[publish]]\ntable = 'users'\nentity = 'user'\ncolumns = ['id', 'name']\n");
    }

    [[nodiscard]] ServiceConfig holder() const {
        return config(
            "[service]\nname = 'crm'\ndatabase = 'sqlite:crm.db'\nbroker = 'embedded:broker.db'\n"
            "[[replica]]\ntopic = 'iam.user'\ntable = 'people'\n");
    }

    void run_sql(const ServiceConfig& config, std::string_view statements) {
        const auto database =
            open_database(config.database, clock_, MissingDatabase::kCreate).value();
        const auto done = database->connect().value()->execute_script(statements);
        ASSERT_TRUE(done) << done.error().message;
    }

    void given_users() {
        run_sql(owner(), "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, secret TEXT)");
    }

    static std::vector<std::string> summaries(const Result<ServicePlan>& plan) {
        EXPECT_TRUE(plan) << plan.error().message;
        std::vector<std::string> texts;
        for (const SchemaChange& change : plan.value_or(ServicePlan{})) {
            texts.push_back(change.summary);
        }
        return texts;
    }

    std::vector<std::string> findings(const ServiceConfig& config, Finding::Severity severity) {
        const auto found = check_service(config, clock_);
        EXPECT_TRUE(found) << found.error().message;
        std::vector<std::string> texts;
        for (const Finding& finding : found.value_or(std::vector<Finding>{})) {
            if (finding.severity == severity) {
                texts.push_back(finding.subject + ": " + finding.message + "; " + finding.fix);
            }
        }
        return texts;
    }

    std::vector<std::string> problems(const ServiceConfig& config) {
        return findings(config, Finding::Severity::kProblem);
    }

    [[nodiscard]] bool exists(std::string_view file) const {
        return std::filesystem::exists(dir_.file(file));
    }

    test::TempDir dir_;
    test::ManualClock clock_;
};

TEST_F(CheckTest, RefusesSchemesThatItDoesNotKnow) {
    const auto database = open_database("mysql://u:hunter2@h/db", clock_);
    ASSERT_FALSE(database);
    EXPECT_EQ(database.error(),
              (Error{ErrorCode::kConfigInvalid,
                     "database \"mysql://u:***@h/db\" cannot be opened; this program knows "
                     "sqlite:PATH and postgresql://…"}));
    Brokers brokers(clock_);
    const auto broker = brokers.open("nats://h");
    ASSERT_FALSE(broker);
    EXPECT_EQ(broker.error(), (Error{ErrorCode::kConfigInvalid,
                                     "broker \"nats://h\" cannot be opened; this program knows "
                                     "embedded:PATH, redis://…, amqp://…, kafka://… and direct:"}));
}

TEST_F(CheckTest, OpensEachBrokerOnce) {
    Brokers brokers(clock_);
    Broker* const first = brokers.open("embedded:" + dir_.file("b.db")).value();
    EXPECT_EQ(brokers.open("embedded://" + dir_.file("b.db")).value(), first);
    EXPECT_NE(brokers.open("embedded:" + dir_.file("c.db")).value(), first);
}

TEST_F(CheckTest, AppliesWhatItPlannedAndNothingTheSecondTime) {
    given_users();
    const auto planned = summaries(plan_service(owner(), clock_, {}));
    EXPECT_THAT(planned, Contains(HasSubstr("bring the tables instep_* from step 0 to step ")));
    EXPECT_THAT(planned, Contains(HasSubstr("publish user from table users")));
    EXPECT_EQ(summaries(plan_service(owner(), clock_, {})), planned);
    EXPECT_EQ(summaries(apply_service(owner(), clock_, {})), planned);
    EXPECT_THAT(summaries(plan_service(owner(), clock_, {})), IsEmpty());
    EXPECT_THAT(summaries(apply_service(owner(), clock_, {})), IsEmpty());
}

TEST_F(CheckTest, CreatesTheTableOfAReplicaWhoseOwnerIsKnown) {
    Contract contract;
    contract.service = "iam";
    contract.table = "users";
    contract.entity = "user";
    contract.key = {"id"};
    contract.dialect = "sqlite";
    contract.columns = {{"id", "INTEGER", ValueKind::kInteger, true, false},
                        {"name", "TEXT", ValueKind::kText, false, false}};
    EXPECT_THAT(summaries(plan_service(holder(), clock_, {contract})),
                Contains(HasSubstr("create ")));
    EXPECT_FALSE(exists("crm.db"));
    EXPECT_THAT(summaries(apply_service(holder(), clock_, {contract})),
                Contains("create replica table people"));
    EXPECT_THAT(summaries(apply_service(holder(), clock_, {contract})), IsEmpty());
}

TEST_F(CheckTest, DoesNotMakeADatabaseThatTheServiceShouldPublishFrom) {
    EXPECT_EQ(apply_service(owner(), clock_, {}).error().code, ErrorCode::kNotFound);
    EXPECT_FALSE(exists("iam.db"));
    EXPECT_THAT(problems(owner()), Contains(HasSubstr("database: ")));
}

TEST_F(CheckTest, AsksForApplyUntilAllIsInForce) {
    given_users();
    EXPECT_THAT(problems(owner()), Contains(HasSubstr("run `instep apply`")));
    ASSERT_TRUE(apply_service(owner(), clock_, {}));
    EXPECT_THAT(problems(owner()), IsEmpty());
    run_sql(owner(), "DROP TRIGGER instep_capture_user_insert");
    EXPECT_THAT(problems(owner()), Contains(HasSubstr("create trigger")));
}

TEST_F(CheckTest, FindsWhatTheDatabaseDoesNotHave) {
    run_sql(owner(), "CREATE TABLE users (id INTEGER PRIMARY KEY, nome TEXT)");
    EXPECT_THAT(problems(owner()), Contains(HasSubstr("no column name; did you mean nome?")));
}

TEST_F(CheckTest, WarnsOfConstraintsThatTheOwnerDoesNotHave) {
    run_sql(holder(),
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT UNIQUE);"
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, person INTEGER REFERENCES people (id))");
    const auto warnings = findings(holder(), Finding::Severity::kWarning);
    EXPECT_THAT(warnings, Contains(HasSubstr("replica people: has unique indexes")));
    EXPECT_THAT(warnings, Contains(HasSubstr("a foreign key leads from orders to people")));
}

TEST_F(CheckTest, WarnsOfNoForeignKeyThatWholeTransactionsKeep) {
    const ServiceConfig group = config(
        "[service]\nname = 'crm'\ndatabase = 'sqlite:crm.db'\nbroker = 'embedded:broker.db'\n"
        "[[replica]]\ntopic = 'iam.user'\ntable = 'people'\napply = 'transaction'\n"
        "[[replica]]\ntopic = 'iam.order'\ntable = 'orders'\napply = 'transaction'\n");
    run_sql(group,
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);"
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, person INTEGER REFERENCES PEOPLE (id));"
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, person INTEGER REFERENCES people (id))");
    const auto warnings = findings(group, Finding::Severity::kWarning);
    EXPECT_THAT(warnings, Not(Contains(HasSubstr("leads from orders"))));
    EXPECT_THAT(warnings, Contains(HasSubstr("leads from notes to people: rows arrive and go "
                                             "without regard for it, and one that it refuses stops "
                                             "all replicas that are applied with it")));
}

TEST_F(CheckTest, ReportsAnOwnersFileThatCannotBeRead) {
    const ServiceConfig follower = config(
        "[service]\nname = 'crm'\ndatabase = 'sqlite:crm.db'\nbroker = 'direct:none.toml'\n"
        "[[replica]]\ntopic = 'iam.user'\ntable = 'people'\n");
    EXPECT_THAT(problems(follower), Contains(HasSubstr("none.toml cannot be read")));
}

TEST_F(CheckTest, RefusesAnotherNumberOfPartitionsBeforeAnythingRuns) {
    given_users();
    ASSERT_TRUE(apply_service(owner(), clock_, {}));
    run_sql(owner(),
            "INSERT INTO instep_cursor (reader, partition, partitions, seq, moved_us) "
            "VALUES ('relay', 0, 1, 0, 0)");
    EXPECT_THAT(problems(owner()), IsEmpty());
    ServiceConfig changed = owner();
    changed.partitions = 3;
    EXPECT_THAT(problems(changed), Contains(HasSubstr("for 1 partitions, not 3")));
    EXPECT_EQ(plan_service(changed, clock_, {}).error().code, ErrorCode::kConflict);
    EXPECT_EQ(apply_service(changed, clock_, {}).error().code, ErrorCode::kConflict);
}

TEST_F(CheckTest, DoesNotLetAReplicaReplaceRowsOfTheApplication) {
    run_sql(holder(),
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);"
            "INSERT INTO people VALUES (7, 'precious')");
    EXPECT_THAT(problems(holder()), Contains(HasSubstr("table people holds rows that no replica "
                                                       "brought")));
    EXPECT_EQ(apply_service(holder(), clock_, {}).error().code, ErrorCode::kSchemaMismatch);
    run_sql(holder(), "DELETE FROM people");
    EXPECT_TRUE(apply_service(holder(), clock_, {}));
}

TEST_F(CheckTest, ReportsABrokerThatCannotBeReached) {
    given_users();
    ServiceConfig no_folder = owner();
    no_folder.broker = "embedded:" + dir_.file("none/broker.db");
    EXPECT_THAT(problems(no_folder), Contains(HasSubstr("broker: ")));
    ServiceConfig shared = owner();
    shared.broker = "embedded:" + dir_.file("iam.db");
    EXPECT_THAT(problems(shared), Contains(HasSubstr("broker: is the service's own database")));
    ServiceConfig foreign = owner();
    foreign.broker = "nats://h";
    EXPECT_THAT(problems(foreign), Contains(HasSubstr("this program knows embedded:PATH")));
}

TEST_F(CheckTest, ChangesNothingByLooking) {
    given_users();
    ASSERT_TRUE(check_service(owner(), clock_));
    ASSERT_TRUE(check_service(holder(), clock_));
    EXPECT_FALSE(exists("broker.db"));
    EXPECT_FALSE(exists("crm.db"));
    EXPECT_THAT(summaries(plan_service(owner(), clock_, {})), Not(IsEmpty()));
}

}  // namespace
}  // namespace instep
