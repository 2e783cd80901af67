// Every way to write to a table on PostgreSQL, seen by the capture triggers.
#include "tests/support/postgres_owner.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace instep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class PostgresWrites : public PostgresOwnerTest {
protected:
    using PostgresOwnerTest::PostgresOwnerTest;

    void follow_sample() {
        given("CREATE TABLE sample (id int PRIMARY KEY, words text)");
        given("INSERT INTO sample SELECT i, 'row ' || i FROM generate_series(1, 10) i");
        follow("sample");
    }

    std::vector<std::string> copy() {
        return rows_of(*system.replicas.back()->sql, "SELECT id, words FROM copy ORDER BY id");
    }

    std::vector<std::string> events() {
        return rows_of(*system.owner,
                       "SELECT type || ' ' || key FROM instep.log WHERE topic = 'iam.thing' "
                       "ORDER BY seq");
    }
};

TEST_P(PostgresWrites, StatementsOfManyRows) {
    follow_sample();
    given(
        "INSERT INTO sample SELECT i, 'more' FROM generate_series(11, 500) i;"
        "UPDATE sample SET words = words || '!' WHERE id % 2 = 0;"
        "DELETE FROM sample WHERE id % 5 = 0");
    expect_in_step();
    given(
        "WITH gone AS (DELETE FROM sample WHERE id < 5 RETURNING *) "
        "INSERT INTO sample SELECT id + 1000, words FROM gone");
    expect_in_step();
}

TEST_P(PostgresWrites, KeysThatMove) {
    follow_sample();
    given("UPDATE sample SET id = -id; UPDATE sample SET id = id + 100 WHERE id < -5");
    expect_in_step();
    // From one key to another's place, and back to its own, in one transaction.
    given(
        "BEGIN; UPDATE sample SET id = 0 WHERE id = -1; UPDATE sample SET id = -1 WHERE id = -2;"
        "UPDATE sample SET id = -2 WHERE id = 0; COMMIT");
    expect_in_step();
}

TEST_P(PostgresWrites, InsertOrUpdate) {
    follow_sample();
    given(
        "INSERT INTO sample VALUES (1, 'one'), (11, 'eleven') "
        "ON CONFLICT (id) DO UPDATE SET words = excluded.words;"
        "INSERT INTO sample VALUES (2, 'two') ON CONFLICT DO NOTHING");
    expect_in_step();
    EXPECT_THAT(events(), ElementsAre("thing.updated 1", "thing.created 11"));
}

TEST_P(PostgresWrites, Merge) {
    if (owned("SELECT current_setting('server_version_num')::int >= 150000") == "0") {
        GTEST_SKIP() << "MERGE came with PostgreSQL 15";
    }
    follow_sample();
    given(
        "MERGE INTO sample s USING (VALUES (1, 'one'), (2, NULL), (11, 'eleven')) v (id, words) "
        "ON s.id = v.id WHEN MATCHED AND v.words IS NULL THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET words = v.words "
        "WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.words)");
    expect_in_step();
    EXPECT_THAT(events(), testing::UnorderedElementsAre("thing.updated 1", "thing.deleted 2",
                                                        "thing.created 11"));
}

TEST_P(PostgresWrites, Copy) {
    follow_sample();
    given("COPY sample FROM PROGRAM 'printf \"11\\\\tcopied\\\\n12\\\\t\\\\\\\\N\\\\n\"'");
    expect_in_step();
    EXPECT_EQ(copied("SELECT words FROM copy WHERE id = 11"), "copied");
}

TEST_P(PostgresWrites, Truncate) {
    follow_sample();
    given("TRUNCATE sample; INSERT INTO sample VALUES (3, 'again')");
    expect_in_step();
    EXPECT_THAT(copy(), ElementsAre("3|again"));
    given("BEGIN; TRUNCATE sample; ROLLBACK");
    expect_in_step();
}

TEST_P(PostgresWrites, NothingThatIsTakenBack) {
    follow_sample();
    given(
        "BEGIN; DELETE FROM sample; SAVEPOINT a; INSERT INTO sample VALUES (1, 'x'); ROLLBACK;"
        "BEGIN; UPDATE sample SET words = 'kept' WHERE id = 1; SAVEPOINT a;"
        "UPDATE sample SET words = 'lost'; ROLLBACK TO a; COMMIT");
    expect_in_step();
    EXPECT_THAT(events(), ElementsAre("thing.updated 1"));
}

TEST_P(PostgresWrites, NothingThatChangesNothing) {
    follow_sample();
    given("UPDATE sample SET words = words");
    EXPECT_THAT(events(), IsEmpty());
}

TEST_P(PostgresWrites, CascadesOfForeignKeys) {
    given(
        "CREATE TABLE parent (id int PRIMARY KEY);"
        "CREATE TABLE sample (id int PRIMARY KEY, words text, parent int REFERENCES parent "
        "ON UPDATE CASCADE ON DELETE CASCADE, other int REFERENCES parent ON DELETE SET NULL);"
        "INSERT INTO parent VALUES (1), (2), (3);"
        "INSERT INTO sample SELECT i, 'row', i % 3 + 1, 3 FROM generate_series(1, 9) i");
    follow("sample");
    given("UPDATE parent SET id = 20 WHERE id = 2");
    expect_in_step();
    given("DELETE FROM parent WHERE id = 1; DELETE FROM parent WHERE id = 3");
    expect_in_step();
    given("TRUNCATE parent CASCADE");
    expect_in_step();
    EXPECT_THAT(copy(), IsEmpty());
}

TEST_P(PostgresWrites, ATriggerThatChangesTheRowBefore) {
    given(
        "CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.words = 'no' THEN RETURN NULL; END IF; NEW.words := upper(NEW.words); "
        "RETURN NEW; END $$");
    follow_sample();
    given(
        "CREATE TRIGGER tidy BEFORE INSERT OR UPDATE ON sample FOR EACH ROW EXECUTE FUNCTION "
        "tidy(); INSERT INTO sample VALUES (11, 'new'), (12, 'no'); UPDATE sample SET words = 'x'");
    expect_in_step();
    EXPECT_EQ(copied("SELECT words FROM copy WHERE id = 11"), "X");
}

TEST_P(PostgresWrites, ATriggerThatChangesTheRowAgainAfterwards) {
    follow_sample();
    given(
        "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "UPDATE sample SET words = words || '+' WHERE id = NEW.id; RETURN NULL; END $$;"
        "CREATE TRIGGER \"0_again\" AFTER INSERT OR UPDATE ON sample FOR EACH ROW WHEN "
        "(NEW.words NOT LIKE '%++') EXECUTE FUNCTION again();"
        "INSERT INTO sample VALUES (11, 'new'); UPDATE sample SET words = 'x' WHERE id = 1");
    expect_in_step();
    EXPECT_EQ(copied("SELECT words FROM copy WHERE id = 11"), "new++");
    given("DELETE FROM sample WHERE id = 11");
    expect_in_step();
}

TEST_P(PostgresWrites, ConstraintsThatAreCheckedAtTheEnd) {
    given(
        "CREATE TABLE sample (id int PRIMARY KEY, words text, place int UNIQUE DEFERRABLE "
        "INITIALLY DEFERRED, next int REFERENCES sample DEFERRABLE INITIALLY DEFERRED)");
    follow("sample");
    given(
        "BEGIN; INSERT INTO sample VALUES (1, 'a', 1, 2), (2, 'b', 2, 1); "
        "UPDATE sample SET place = 3 - place; COMMIT");
    expect_in_step();
    EXPECT_THAT(copy(), ElementsAre("1|a", "2|b"));
}

class PostgresPreparedWrites : public PostgresWrites {
protected:
    PostgresPreparedWrites() : PostgresWrites(PostgresServer::with_prepared_transactions()) {}
};

TEST_P(PostgresPreparedWrites, TwoPhaseCommit) {
    follow_sample();
    given("BEGIN; UPDATE sample SET words = 'two' WHERE id = 2; PREPARE TRANSACTION 'later'");
    given("UPDATE sample SET words = 'one' WHERE id = 1");
    system.settle();
    EXPECT_EQ(copied("SELECT words FROM copy WHERE id = 2"), "row 2");
    given("COMMIT PREPARED 'later'");
    expect_in_step();
}

class PostgresPartitions : public PostgresWrites {
protected:
    PostgresPartitions() {
        given(
            "CREATE TABLE sample (id int, region text, words text, PRIMARY KEY (id, region)) "
            "PARTITION BY LIST (region);"
            "CREATE TABLE north PARTITION OF sample FOR VALUES IN ('n');"
            "CREATE TABLE south PARTITION OF sample FOR VALUES IN ('s') PARTITION BY RANGE (id);"
            "CREATE TABLE south_low PARTITION OF south FOR VALUES FROM (0) TO (100);"
            "CREATE TABLE south_high PARTITION OF south FOR VALUES FROM (100) TO (200);"
            "INSERT INTO sample SELECT i, 'n', 'row' FROM generate_series(1, 9) i");
        follow("sample", {"id", "region"});
    }
};

TEST_P(PostgresPartitions, RowsThroughTheParentAndIntoALeaf) {
    given(
        "INSERT INTO sample VALUES (50, 's', 'by parent'); "
        "INSERT INTO south VALUES (150, 's', 'by branch'); "
        "INSERT INTO south_high VALUES (151, 's', 'by leaf'); "
        "UPDATE south_low SET words = 'changed'; DELETE FROM north WHERE id < 3");
    expect_in_step();
    EXPECT_EQ(copied("SELECT count(*) FROM copy"), "10");
}

TEST_P(PostgresPartitions, RowsThatMoveToAnotherPartition) {
    given(
        "UPDATE sample SET region = 's' WHERE id > 5; UPDATE sample SET id = id + 100 WHERE id > "
        "7");
    expect_in_step();
    EXPECT_EQ(copied("SELECT count(*) FROM copy WHERE region = 's'"), "4");
}

TEST_P(PostgresPartitions, OnesThatAreMadeLater) {
    given(
        "CREATE TABLE west PARTITION OF sample FOR VALUES IN ('w'); "
        "CREATE TABLE east (LIKE sample); ALTER TABLE sample ATTACH PARTITION east FOR VALUES IN "
        "('e'); INSERT INTO sample VALUES (1, 'w', 'x'), (1, 'e', 'x'); "
        "INSERT INTO east VALUES (2, 'e', 'y')");
    expect_in_step();
    EXPECT_EQ(copied("SELECT count(*) FROM copy"), "12");
}

TEST_P(PostgresPartitions, TruncateOfTheParent) {
    given("TRUNCATE sample; INSERT INTO sample VALUES (1, 's', 'x')");
    expect_in_step();
}

// What no trigger sees, and how it is made good.
TEST_P(PostgresPartitions, RowsThatComeAndGoWithATableAreFoundByVerify) {
    given(
        "CREATE TABLE east (LIKE sample); INSERT INTO east VALUES (1, 'e', 'x'); "
        "ALTER TABLE sample ATTACH PARTITION east FOR VALUES IN ('e')");
    system.settle();
    ReplicaSide& side = *system.replicas.front();
    EXPECT_EQ(system.verify(side).differences, 1U);
    given("ALTER TABLE sample DETACH PARTITION north; TRUNCATE east");
    system.settle();
    EXPECT_EQ(system.verify(side, VerificationPurpose::kRepair).repaired, 9U);
    expect_in_step();
}

TEST_P(PostgresWrites, WhatTriggersDoNotSeeIsFoundByVerify) {
    follow_sample();
    given(
        "BEGIN; SET LOCAL session_replication_role = replica; "
        "UPDATE sample SET words = 'unseen' WHERE id < 3; COMMIT");
    system.settle();
    ReplicaSide& side = *system.replicas.front();
    EXPECT_THAT(events(), IsEmpty());
    EXPECT_EQ(system.verify(side).differences, 2U);
    EXPECT_EQ(system.verify(side, VerificationPurpose::kRepair).repaired, 2U);
    expect_in_step();
}

constexpr auto kNameOf = [](const auto& home) {
    return home.param == Home::kPostgres ? "postgres" : "sqlite";
};

INSTANTIATE_TEST_SUITE_P(Replica, PostgresWrites, testing::Values(Home::kPostgres, Home::kSqlite),
                         kNameOf);
INSTANTIATE_TEST_SUITE_P(Replica, PostgresPreparedWrites,
                         testing::Values(Home::kPostgres, Home::kSqlite), kNameOf);
INSTANTIATE_TEST_SUITE_P(Replica, PostgresPartitions,
                         testing::Values(Home::kPostgres, Home::kSqlite), kNameOf);

}  // namespace
}  // namespace instep::test
