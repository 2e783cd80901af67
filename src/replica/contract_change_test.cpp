// Chunks and the contract they bring, where they do not come in order with the changes: parked
// ones, ones that a change of contract falls between, and ones that come again.
#include "instep/replica/replica.hpp"
#include "tests/support/sync_system.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace instep {
namespace {

using test::ReplicaSide;
using test::rows_of;
using test::run_sql;
using test::SyncSystem;
using test::value_of;

SyncSystem::Options chunks_of_two(std::uint32_t partitions) {
    SyncSystem::Options options;
    options.partitions = partitions;
    options.scan.chunk_rows_max = 2;
    return options;
}

class ContractChangeTest : public testing::TestWithParam<std::uint32_t> {
protected:
    ContractChangeTest() {
        system.owner_sql(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, title TEXT DEFAULT 'Dr');"
            "INSERT INTO users (id, name) VALUES (1, 'Ann'), (2, 'Ben'), (3, 'Cy'), (4, 'Di'), "
            "(5, 'Eve'), (6, 'Flo')");
        system.publish({users({"id", "name"})});
    }

    static PublishEntry users(std::vector<std::string> columns) {
        return {"users", "user", {"id"}, std::move(columns), {}};
    }

    ReplicaSide& follow() { return system.add_replica("billing", "user", "lookup_users"); }

    void given_title_published() { system.publish({users({"id", "name", "title"})}); }

    /// No row whose name is Ben fits the local table, so no chunk with it does.
    static void refuse_ben(ReplicaSide& side) {
        run_sql(*side.sql,
                "CREATE TRIGGER no_ben BEFORE INSERT ON lookup_users WHEN NEW.name = 'Ben' "
                "BEGIN SELECT RAISE(ABORT, 'no Ben'); END");
    }

    static void accept_ben(ReplicaSide& side) { run_sql(*side.sql, "DROP TRIGGER no_ben"); }

    void fill_again(ReplicaSide& side) {
        auto transaction = Transaction::begin(*side.sql, TransactionMode::kWrite);
        ASSERT_TRUE(request_backfill(*transaction, side.definition, system.random));
        ASSERT_TRUE(transaction->commit());
    }

    /// Everything parked is due, and done.
    void retry_parked() {
        system.clock.advance(std::chrono::minutes(5));
        system.settle();
    }

    void expect_equal(ReplicaSide& side, const std::string& columns) {
        EXPECT_EQ(rows_of(*side.sql, "SELECT " + columns + " FROM lookup_users ORDER BY id"),
                  rows_of(*system.owner, "SELECT " + columns + " FROM users ORDER BY id"));
        EXPECT_EQ(value_of(*side.sql, "SELECT state FROM instep_replica"), "live");
        EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM instep_parked_key"), "0");
        EXPECT_EQ(system.verify(side).differences, 0U);
        EXPECT_THAT(system.errors, testing::IsEmpty());
    }

    SyncSystem system{chunks_of_two(GetParam())};
};

INSTANTIATE_TEST_SUITE_P(Partitions, ContractChangeTest, testing::Values(1, 3));

TEST_P(ContractChangeTest, ChangesThatPassedAParkedFirstChunkAreNotLost) {
    ReplicaSide& side = follow();
    run_sql(*side.sql,
            "CREATE TABLE lookup_users (id INTEGER PRIMARY KEY, name TEXT, instep_version BLOB)");
    run_sql(*side.sql,
            "CREATE TRIGGER nobody BEFORE INSERT ON lookup_users "
            "BEGIN SELECT RAISE(ABORT, 'nobody'); END");
    system.settle();
    system.owner_sql("UPDATE users SET name = 'Anna' WHERE id = 1; DELETE FROM users WHERE id = 2");
    system.settle();
    run_sql(*side.sql, "DROP TRIGGER nobody");
    retry_parked();
    expect_equal(side, "id, name");
}

TEST_P(ContractChangeTest, ANewColumnIsFilledForRowsThatPassedItsParkedChunk) {
    ReplicaSide& side = follow();
    system.settle();
    refuse_ben(side);
    given_title_published();
    system.owner_sql("UPDATE users SET name = 'Anna' WHERE id = 1");
    system.settle();
    system.owner_sql("UPDATE users SET name = 'Cyd' WHERE id = 3");
    system.settle();
    accept_ben(side);
    retry_parked();
    expect_equal(side, "id, name, title");
}

TEST_P(ContractChangeTest, ANewColumnIsFilledForChunksThatCameBeforeIt) {
    ReplicaSide& side = follow();
    while (value_of(*side.sql, "SELECT filled_rows > 0 FROM instep_replica") != "1") {
        system.step();
    }
    given_title_published();
    system.settle();
    expect_equal(side, "id, name, title");
}

TEST_P(ContractChangeTest, AParkedChunkOfAnEarlierContractIsPassedOver) {
    ReplicaSide& side = follow();
    system.settle();
    refuse_ben(side);
    fill_again(side);
    system.settle();
    accept_ben(side);
    given_title_published();
    fill_again(side);
    system.settle();
    retry_parked();
    expect_equal(side, "id, name, title");
}

TEST_P(ContractChangeTest, ARepairThatMeetsANewContractBringsAllOfIt) {
    ReplicaSide& side = follow();
    system.settle();
    given_title_published();
    run_sql(*side.sql, "UPDATE lookup_users SET name = 'Nobody' WHERE id = 4");
    system.verify(side, VerificationPurpose::kRepair);
    system.settle();
    expect_equal(side, "id, name, title");
}

}  // namespace
}  // namespace instep
