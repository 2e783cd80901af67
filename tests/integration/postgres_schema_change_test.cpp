// What becomes of replicas when the owner's table changes, with PostgreSQL on both sides.
#include "tests/support/sync_system.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>

namespace instep {
namespace {

using test::Home;
using test::ReplicaSide;
using test::rows_of;
using test::run_sql;
using test::SyncSystem;
using test::value_of;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class PostgresSchemaChange : public testing::Test {
protected:
    PostgresSchemaChange() {
        system.owner_sql(
            "CREATE TABLE users (id integer PRIMARY KEY, name varchar(5), age smallint, title "
            "text DEFAULT 'Dr');"
            "INSERT INTO users VALUES (1, 'Ann', 30), (2, 'Ben', 40), (3, 'Cy', 50)");
        system.publish({users({"id", "name", "age"})});
    }

    static SyncSystem::Options options() {
        SyncSystem::Options options;
        options.owner = Home::kPostgres;
        options.replicas = Home::kPostgres;
        options.scan.chunk_rows_max = 2;
        return options;
    }

    static PublishEntry users(std::vector<std::string> columns) {
        return {"users", "user", {"id"}, std::move(columns), {}};
    }

    ReplicaSide& given_filled_replica() {
        ReplicaSide& side = system.add_replica("billing", "user", "lookup_users");
        system.settle();
        EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM lookup_users"), "3");
        return side;
    }

    /// What a migration of the owner has to do where a published column changes its type.
    void alter_type(const std::string& change) {
        system.owner_sql(
            "DROP TRIGGER \"#instep_capture_user_update\" ON users;"
            "DROP TRIGGER \"#instep_capture_user_rekey\" ON users;"
            "ALTER TABLE users " +
            change);
    }

    std::vector<std::string> plan(ReplicaSide& side, const std::vector<std::string>& columns) {
        const auto contract = bind_contract(*system.owner, "iam", users(columns));
        EXPECT_TRUE(contract) << contract.error().message;
        const auto changes = plan_replica(*side.sql, side.definition, &*contract);
        EXPECT_TRUE(changes) << changes.error().message;
        std::vector<std::string> texts;
        for (const SchemaChange& change : *changes) {
            texts.push_back(change.summary + ": " + change.sql);
        }
        return texts;
    }

    /// A failed step ends settle(), and its next try is another one.
    void settle() {
        for (std::size_t failed = 0; failed <= system.errors.size(); ++failed) {
            system.settle();
        }
    }

    static std::string type_of(ReplicaSide& side, const std::string& column) {
        return value_of(*side.sql,
                        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid "
                        "= 'lookup_users'::regclass AND attname = '" +
                            column + "'");
    }

    void expect_equal(ReplicaSide& side, const std::string& columns) {
        EXPECT_EQ(rows_of(*side.sql, "SELECT " + columns + " FROM lookup_users ORDER BY id"),
                  rows_of(*system.owner, "SELECT " + columns + " FROM users ORDER BY id"));
        EXPECT_EQ(value_of(*side.sql, "SELECT state FROM instep_replica"), "live");
        EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM instep_parked_key"), "0");
        EXPECT_EQ(system.verify(side).differences, 0U);
    }

    void TearDown() override {
        for (const Error& error : system.errors) {
            // A statement that was prepared for the old type; the next try prepares it anew.
            EXPECT_EQ(error.code, ErrorCode::kBusy) << error.message;
        }
        if (HasFailure()) {
            for (const std::string& line : system.log_lines.lines()) {
                std::cerr << line << "\n";
            }
        }
    }

    SyncSystem system{options()};
};

TEST_F(PostgresSchemaChange, AColumnThatIsAddedIsFilledForAllRows) {
    ReplicaSide& side = given_filled_replica();
    EXPECT_THAT(plan(side, {"id", "name", "age", "title"}),
                ElementsAre("add column title to replica lookup_users: ALTER TABLE "
                            "\"lookup_users\" ADD COLUMN \"title\" text"));
    system.publish({users({"id", "name", "age", "title"})});
    system.owner_sql("UPDATE users SET age = 31 WHERE id = 1");
    settle();
    expect_equal(side, "id, name, age, title");
}

TEST_F(PostgresSchemaChange, TheOwnerCannotDropAColumnThatIsPublished) {
    given_filled_replica();
    const auto dropped = system.owner->execute_script("ALTER TABLE users DROP COLUMN age");
    ASSERT_FALSE(dropped);
    EXPECT_THAT(dropped.error().message, HasSubstr("#instep_capture_user_rekey"));
}

TEST_F(PostgresSchemaChange, AColumnThatLeftKeepsItsValues) {
    ReplicaSide& side = given_filled_replica();
    system.publish({users({"id", "name"})});
    system.owner_sql("ALTER TABLE users DROP COLUMN age; INSERT INTO users VALUES (4, 'Di')");
    settle();
    expect_equal(side, "id, name");
    EXPECT_THAT(rows_of(*side.sql, "SELECT id, coalesce(age, 0) FROM lookup_users ORDER BY id"),
                ElementsAre("1|30", "2|40", "3|50", "4|0"));
    EXPECT_EQ(system.log_lines.count("replica.column_left_the_contract"), 1U);
}

TEST_F(PostgresSchemaChange, AColumnThatWasRenamedComesUnderItsNewName) {
    ReplicaSide& side = given_filled_replica();
    system.publish({users({"id", "name"})});
    system.owner_sql("ALTER TABLE users RENAME age TO years");
    system.publish({users({"id", "name", "years"})});
    system.owner_sql("UPDATE users SET years = 41 WHERE id = 2");
    settle();
    expect_equal(side, "id, name, years");
}

TEST_F(PostgresSchemaChange, TypesWidenWithTheOwners) {
    ReplicaSide& side = given_filled_replica();
    alter_type("ALTER id TYPE bigint, ALTER name TYPE varchar(50), ALTER age TYPE integer");
    EXPECT_THAT(plan(side, {"id", "name", "age"}),
                ElementsAre(HasSubstr("widen column id of replica lookup_users from integer to "
                                      "bigint: ALTER TABLE \"lookup_users\" ALTER COLUMN \"id\" "
                                      "TYPE bigint"),
                            HasSubstr("from character varying(5) to character varying(50)"),
                            HasSubstr("from smallint to integer")));
    system.publish({users({"id", "name", "age"})});
    // Only rows that the narrow columns cannot hold, so that nothing else brings the contract.
    system.owner_sql("INSERT INTO users VALUES (5000000000, 'Anna Katharina', 100000)");
    settle();
    expect_equal(side, "id, name, age");
    EXPECT_EQ(type_of(side, "id"), "bigint");
    alter_type("ALTER name TYPE text");
    system.publish({users({"id", "name", "age"})});
    system.owner_sql("UPDATE users SET name = repeat('x', 60) WHERE id = 1");
    settle();
    // Another statement than the one that this test's sessions prepared for the old type.
    expect_equal(side, "id, age, name");
    EXPECT_EQ(type_of(side, "name"), "text");
}

TEST_F(PostgresSchemaChange, AnotherChangeOfTypeIsLeftToPeople) {
    ReplicaSide& side = given_filled_replica();
    alter_type("ALTER age TYPE text");
    EXPECT_THAT(plan(side, {"id", "name", "age"}), IsEmpty());
}

TEST_F(PostgresSchemaChange, ATypeThatSomebodyChoseStays) {
    ReplicaSide& side = given_filled_replica();
    run_sql(*side.sql, "ALTER TABLE lookup_users ALTER name TYPE varchar(20)");
    alter_type("ALTER name TYPE varchar(50)");
    EXPECT_THAT(plan(side, {"id", "name", "age"}), IsEmpty());
    system.publish({users({"id", "name", "age"})});
    system.owner_sql("UPDATE users SET name = 'Anna' WHERE id = 1");
    settle();
    expect_equal(side, "id, name, age");
    EXPECT_EQ(type_of(side, "name"), "character varying(20)");
}

TEST_F(PostgresSchemaChange, AKeyOfTextStaysInTheOrderOfBytes) {
    system.owner_sql(
        "CREATE TABLE codes (id varchar(3) PRIMARY KEY, n int);"
        "INSERT INTO codes VALUES ('a', 1), ('B', 2)");
    system.publish({{"codes", "code", {"id"}, {"id", "n"}, {}}});
    ReplicaSide& side = system.add_replica("billing", "code", "codes");
    system.settle();
    system.owner_sql(
        "DROP TRIGGER \"#instep_capture_code_update\" ON codes;"
        "DROP TRIGGER \"#instep_capture_code_rekey\" ON codes;"
        "ALTER TABLE codes ALTER id TYPE varchar(9)");
    system.publish({{"codes", "code", {"id"}, {"id", "n"}, {}}});
    system.owner_sql("INSERT INTO codes VALUES ('longer', 3)");
    system.settle();
    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM codes"), "3");
    EXPECT_EQ(value_of(*side.sql,
                       "SELECT collation_name FROM information_schema.columns WHERE table_name = "
                       "'codes' AND column_name = 'id'"),
              "C");
}

}  // namespace
}  // namespace instep
