// Everything that keeps a replica in step, with PostgreSQL on either side or both.
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
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

struct Homes {
    std::string name;
    Home owner;
    Home replicas;
    std::uint32_t partitions;
};

void PrintTo(const Homes& homes, std::ostream* out) { *out << homes.name; }

class PostgresSync : public testing::TestWithParam<Homes> {
protected:
    PostgresSync() {
        const bool on_server = GetParam().owner == Home::kPostgres;
        system.owner_sql(std::string("CREATE TABLE users (id ") + (on_server ? "uuid" : "TEXT") +
                         " NOT NULL PRIMARY KEY, name TEXT, score DOUBLE PRECISION, photo " +
                         (on_server ? "bytea" : "BLOB") +
                         ", is_active BOOLEAN NOT NULL DEFAULT true, password_hash TEXT)");
        system.publish({users()});
    }

    static SyncSystem::Options options() {
        SyncSystem::Options options;
        options.owner = GetParam().owner;
        options.replicas = GetParam().replicas;
        options.partitions = GetParam().partitions;
        options.scan.chunk_rows_max = 7;
        options.scan.digest_rows = 5;
        options.batch_events_max = 10;
        return options;
    }

    static PublishEntry users() {
        return {"users", "user", {"id"}, {"id", "name", "score", "photo", "is_active"}, {}};
    }

    ReplicaSide& follow() { return system.add_replica("billing", "user", "lookup_users"); }

    static std::string id(int number) {
        return fmt::format("00000000-0000-4000-8000-{:012}", number);
    }

    void given_users(int first, int last) {
        for (int i = first; i <= last; ++i) {
            system.owner_sql(
                fmt::format("INSERT INTO users (id, name, score) VALUES "
                            "('{}', 'user {}', {})",
                            id(i), i, i * 0.5));
        }
    }

    [[nodiscard]] static std::vector<std::string> names(ReplicaSide& side) {
        return rows_of(*side.sql, "SELECT name FROM lookup_users ORDER BY id");
    }

    void TearDown() override {
        for (const Error& error : system.errors) {
            ADD_FAILURE() << error.message;
        }
        if (HasFailure()) {
            for (const std::string& line : system.log_lines.lines()) {
                std::cerr << line << "\n";
            }
        }
    }

    SyncSystem system{options()};
};

TEST_P(PostgresSync, FollowsInsertsUpdatesAndDeletes) {
    ReplicaSide& side = follow();
    system.settle();
    given_users(1, 3);
    system.owner_sql("UPDATE users SET name = 'Ada', is_active = false WHERE id = '" + id(2) + "'");
    system.owner_sql("DELETE FROM users WHERE id = '" + id(1) + "'");
    system.settle();

    EXPECT_THAT(names(side), ElementsAre("Ada", "user 3"));
    EXPECT_EQ(value_of(*side.sql, "SELECT score FROM lookup_users WHERE name = 'Ada'"), "1");
    EXPECT_EQ(value_of(*side.sql, "SELECT is_active FROM lookup_users WHERE name = 'Ada'"), "0");
}

TEST_P(PostgresSync, FollowsTheFirstRowOfAll) {
    ReplicaSide& side = follow();
    system.settle();
    given_users(1, 1);
    system.settle();

    EXPECT_THAT(names(side), ElementsAre("user 1"));
}

TEST_P(PostgresSync, ARepublishedBatchChangesNothing) {
    ReplicaSide& side = follow();
    given_users(1, 25);
    system.settle();
    system.owner_sql("UPDATE users SET name = 'new'");
    for (int i = 0; i < 3; ++i) {
        // As after a crash: whatever was not confirmed is read again.
        system.restart_relay();
        system.step();
    }
    system.settle();

    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM lookup_users WHERE name = 'new'"), "25");
}

TEST_P(PostgresSync, FillsAReplicaWithRowsFromBefore) {
    given_users(1, 100);
    ReplicaSide& side = follow();
    for (int i = 0; i < 4; ++i) {
        system.step();
        system.owner_sql(fmt::format("DELETE FROM users WHERE id = '{}'", id(10 * i + 5)));
        system.owner_sql(fmt::format("UPDATE users SET name = 'x' WHERE id = '{}'", id(90 - i)));
    }
    system.settle();

    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM lookup_users"), "96");
    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM lookup_users WHERE name = 'x'"), "4");
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_P(PostgresSync, ProvesAndRepairsDamage) {
    given_users(1, 40);
    system.owner_sql("UPDATE users SET score = 0.1, photo = " +
                     std::string(GetParam().owner == Home::kPostgres ? "'\\x00ff'" : "x'00FF'") +
                     " WHERE id > '" + id(20) + "'");
    ReplicaSide& side = follow();
    system.settle();
    EXPECT_EQ(system.verify(side).differences, 0U);
    run_sql(*side.sql, "UPDATE lookup_users SET name = 'wrong' WHERE id = '" + id(7) + "'");
    run_sql(*side.sql, "DELETE FROM lookup_users WHERE id = '" + id(8) + "'");
    run_sql(*side.sql,
            "INSERT INTO lookup_users SELECT '" + id(999) +
                "', name, score, photo, is_active, instep_version FROM lookup_users WHERE id = '" +
                id(1) + "'");

    const VerificationStatus found = system.verify(side);
    EXPECT_TRUE(found.finished);
    EXPECT_EQ(found.differences, 3U);
    EXPECT_EQ(system.verify(side, VerificationPurpose::kRepair).repaired, 3U);
    EXPECT_EQ(system.verify(side).differences, 0U);
    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM lookup_users"), "40");
}

TEST_P(PostgresSync, ADeletedRowDoesNotComeBack) {
    given_users(1, 5);
    ReplicaSide& side = follow();
    system.settle();
    system.owner_sql("DELETE FROM users");
    system.settle();
    EXPECT_THAT(names(side), IsEmpty());

    run_sql(*side.sql, "UPDATE instep_tombstone SET removed_us = removed_us");
    given_users(3, 3);
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("user 3"));
}

TEST_P(PostgresSync, FollowsAKeyThatChanges) {
    given_users(1, 2);
    ReplicaSide& side = follow();
    system.settle();
    system.owner_sql("UPDATE users SET id = '" + id(9) + "' WHERE id = '" + id(1) + "'");
    system.settle();

    EXPECT_THAT(names(side), ElementsAre("user 2", "user 1"));
}

TEST_P(PostgresSync, PrivateColumnsStayAndCauseNothing) {
    given_users(1, 1);
    ReplicaSide& side = follow();
    system.settle();
    const std::string before = value_of(*system.owner, "SELECT count(*) FROM instep_log");
    system.owner_sql("UPDATE users SET password_hash = 'secret'");
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_log"), before);
    system.settle();
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_P(PostgresSync, ARefusedRowParksItsKeyOnly) {
    ReplicaSide& side = follow();
    given_users(1, 3);
    system.settle();
    run_sql(*side.sql, "CREATE UNIQUE INDEX one_name ON lookup_users (name)");
    system.owner_sql("UPDATE users SET name = 'user 3' WHERE id = '" + id(1) + "'");
    system.owner_sql("UPDATE users SET name = 'fine' WHERE id = '" + id(2) + "'");
    system.settle();

    EXPECT_THAT(names(side), ElementsAre("user 1", "fine", "user 3"));
    const auto parked = list_parked_keys(*side.sql, "", 10).value();
    ASSERT_EQ(parked.size(), 1U);
    EXPECT_EQ(parked[0].key, id(1));
}

INSTANTIATE_TEST_SUITE_P(Homes, PostgresSync,
                         testing::Values(Homes{"both", Home::kPostgres, Home::kPostgres, 1},
                                         Homes{"both_in_parts", Home::kPostgres, Home::kPostgres,
                                               3},
                                         Homes{"owner", Home::kPostgres, Home::kSqlite, 1},
                                         Homes{"replica", Home::kSqlite, Home::kPostgres, 2}),
                         [](const auto& homes) { return homes.param.name; });

}  // namespace
}  // namespace instep
