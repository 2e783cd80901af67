#include "instep/replica/scan.hpp"

#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::ReplicaSide;
using test::rows_of;
using test::run_sql;
using test::SyncSystem;
using test::value_of;
using testing::ElementsAre;
using testing::IsEmpty;

/// Small chunks, so that a few rows need many.
SyncSystem::Options small_chunks(std::uint32_t partitions = 1) {
    SyncSystem::Options options;
    options.partitions = partitions;
    options.scan.chunk_rows_max = 3;
    options.scan.digest_rows = 2;
    options.scan.digests_max = 2;
    return options;
}

class ScanTest : public testing::TestWithParam<std::uint32_t> {
protected:
    ScanTest() {
        system.owner_sql(
            "CREATE TABLE items (shelf INTEGER NOT NULL, name TEXT NOT NULL, amount INTEGER, "
            "PRIMARY KEY (shelf, name))");
        system.publish({{"items", "item", {"shelf", "name"}, {"shelf", "name", "amount"}, {}}});
        fill(20);
    }

    void fill(int count) {
        for (int i = 0; i < count; ++i) {
            system.owner_sql(
                fmt::format("INSERT OR REPLACE INTO items VALUES ({}, 'n{}', {})", i % 4, i, i));
        }
    }

    ReplicaSide& follow() { return system.add_replica("stock", "item", "items_copy"); }

    [[nodiscard]] std::vector<std::string> source() const {
        return rows_of(*system.owner, "SELECT * FROM items ORDER BY shelf, name");
    }

    [[nodiscard]] static std::vector<std::string> copy(ReplicaSide& side) {
        return rows_of(*side.sql,
                       "SELECT shelf, name, amount FROM items_copy ORDER BY shelf, name");
    }

    SyncSystem system{small_chunks(GetParam())};
};

INSTANTIATE_TEST_SUITE_P(Partitions, ScanTest, testing::Values(1, 3));

TEST_P(ScanTest, ManyChunksMakeOneTable) {
    ReplicaSide& side = follow();
    system.settle();
    EXPECT_EQ(copy(side), source());
    const auto scans = list_scans(*system.owner, 10);
    ASSERT_TRUE(scans);
    std::uint64_t chunks = 0;
    for (const ScanStatus& scan : *scans) {
        EXPECT_EQ(scan.state, "done");
        chunks += scan.chunks_sent;
    }
    EXPECT_GE(chunks, 7U);
    EXPECT_THAT(system.errors, IsEmpty());
}

TEST_P(ScanTest, RowsMayChangeBetweenChunks) {
    ReplicaSide& side = follow();
    for (int i = 0; i < 40; ++i) {
        system.step();
        system.owner_sql(fmt::format(
            "UPDATE items SET amount = amount + 100 WHERE name = 'n{0}';"
            "DELETE FROM items WHERE name = 'n{1}'; INSERT OR REPLACE INTO items VALUES ({2}, "
            "'x{0}', {0}); UPDATE items SET shelf = 9 WHERE name = 'n{3}'",
            i % 20, (i * 7) % 20, i % 4, (i * 3) % 20));
    }
    system.settle();
    EXPECT_EQ(copy(side), source());
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_P(ScanTest, GoesOnWhereItWasAfterTheRelayWasKilled) {
    ReplicaSide& side = follow();
    for (int i = 0; i < 6; ++i) {
        system.step();
        system.restart_relay();
    }
    system.settle();
    EXPECT_EQ(copy(side), source());
}

TEST_P(ScanTest, StraysAnywhereAreRemovedAndStayAway) {
    ReplicaSide& side = follow();
    system.settle();
    run_sql(*side.sql,
            "INSERT INTO items_copy (shelf, name, amount, instep_version) VALUES "
            "(-1, 'first', 0, zeroblob(16)), (2, 'middle', 0, zeroblob(16)), "
            "(99, 'last', 0, zeroblob(16))");
    auto transaction = Transaction::begin(*side.sql, TransactionMode::kWrite);
    ASSERT_TRUE(request_backfill(*transaction, side.definition, system.random));
    ASSERT_TRUE(transaction->commit());
    system.settle();
    EXPECT_EQ(copy(side), source());
}

TEST_P(ScanTest, ARefilledReplicaForgetsWhatTheSourceLost) {
    ReplicaSide& side = follow();
    system.settle();
    // Rows that went without a trigger seeing it.
    system.owner_sql("DROP TRIGGER instep_capture_item_delete; DELETE FROM items WHERE shelf = 1");
    const VerificationStatus found = system.verify(side);
    EXPECT_EQ(found.differences, 5U);
    const VerificationStatus repaired = system.verify(side, VerificationPurpose::kRepair);
    EXPECT_EQ(repaired.repaired, 5U);
    EXPECT_EQ(copy(side), source());
}

TEST_P(ScanTest, ChunksAndDigestsSayWhenTheyWereRead) {
    ReplicaSide& side = follow();
    system.settle();
    system.verify(side);
    const auto broker = system.broker_database->connect();
    ASSERT_TRUE(broker);
    EXPECT_EQ(value_of(**broker, "SELECT count(*) FROM instep_message WHERE time_us = 0"), "0");
}

TEST_P(ScanTest, FinishedScansAndVerificationsAreForgottenOnceTheyAreOld) {
    ReplicaSide& side = follow();
    system.settle();
    run_sql(*side.sql, "UPDATE items_copy SET amount = -1");
    const VerificationStatus found = system.verify(side);
    ASSERT_EQ(found.differences, 20U);
    const auto trim = [](Connection& sql, auto step, Timestamp before, std::uint32_t rows_max) {
        auto transaction = Transaction::begin(sql, TransactionMode::kWrite).value();
        const std::uint64_t rows = step(transaction, before, rows_max).value();
        EXPECT_TRUE(transaction.commit());
        return rows;
    };
    const Timestamp now = system.clock.now();
    EXPECT_EQ(trim(*side.sql, trim_verifications, now - 1h, 100), 0U);
    EXPECT_EQ(trim(*side.sql, trim_verifications, now + 1h, 15), 15U);
    EXPECT_EQ(read_verification(*side.sql, found.id)->differences, 5U) << "it goes last";
    EXPECT_EQ(trim(*side.sql, trim_verifications, now + 1h, 15), 6U);
    EXPECT_EQ(read_verification(*side.sql, found.id).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(value_of(*side.sql, "SELECT count(DISTINCT scan) FROM instep_scan_answer"), "1")
        << "that of the backfill stays";

    auto transaction = Transaction::begin(*side.sql, TransactionMode::kWrite).value();
    ASSERT_TRUE(request_backfill(transaction, side.definition, system.random));
    ASSERT_TRUE(transaction.commit());
    while (value_of(*system.owner, "SELECT count(*) FROM instep_scan WHERE state = 'open'") ==
           "0") {
        system.step();
    }
    EXPECT_EQ(trim(*system.owner, trim_scans, now - 1h, 100), 0U);
    EXPECT_GT(trim(*system.owner, trim_scans, now + 1h, 100), 0U);
    EXPECT_NE(value_of(*system.owner, "SELECT count(*) FROM instep_scan"), "0")
        << "what is under way stays";
    system.settle();
    EXPECT_EQ(copy(side), source());
}

TEST(ScanOnPostgresTest, FinishedScansAndVerificationsAreForgottenToo) {
    SyncSystem system({.owner = test::Home::kPostgres, .replicas = test::Home::kPostgres});
    system.owner_sql("CREATE TABLE items (id bigint PRIMARY KEY, amount bigint)");
    system.owner_sql("INSERT INTO items SELECT n, n FROM generate_series(1, 5) n");
    system.publish({{"items", "item", {"id"}, {"id", "amount"}, {}}});
    ReplicaSide& side = system.add_replica("stock", "item", "items_copy");
    system.settle();
    run_sql(*side.sql, "UPDATE items_copy SET amount = -1");
    const VerificationStatus found = system.verify(side);
    ASSERT_EQ(found.differences, 5U);
    const Timestamp later = side.sql->now().value() + 1h;
    auto at_replica = Transaction::begin(*side.sql, TransactionMode::kWrite).value();
    EXPECT_EQ(trim_verifications(at_replica, later, 3).value_or(0), 3U);
    EXPECT_EQ(trim_verifications(at_replica, later, 3).value_or(0), 3U);
    ASSERT_TRUE(at_replica.commit());
    EXPECT_EQ(read_verification(*side.sql, found.id).error().code, ErrorCode::kNotFound);
    auto at_owner = Transaction::begin(*system.owner, TransactionMode::kWrite).value();
    EXPECT_GE(trim_scans(at_owner, later, 100).value_or(0), 3U);
    ASSERT_TRUE(at_owner.commit());
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_scan"), "0");
}

TEST_P(ScanTest, AnEmptyTableIsFilledToo) {
    system.owner_sql("DELETE FROM items");
    ReplicaSide& side = follow();
    system.settle();
    EXPECT_THAT(copy(side), IsEmpty());
    EXPECT_EQ(list_replicas(*side.sql)->front().state, ReplicaState::kLive);
}

TEST_P(ScanTest, TwoReplicasAreFilledSideBySide) {
    ReplicaSide& one = follow();
    ReplicaSide& two = system.add_replica("sales", "item", "items_copy");
    system.settle();
    EXPECT_EQ(copy(one), source());
    EXPECT_EQ(copy(two), source());
}

TEST_P(ScanTest, ChunksForOneConsumerDoNotTouchAnother) {
    ReplicaSide& one = follow();
    system.settle();
    const auto before = list_progress(*one.sql)->front().counts.applied;
    system.add_replica("sales", "item", "items_copy");
    system.settle();
    EXPECT_EQ(list_progress(*one.sql)->front().counts.applied, before);
}

TEST_P(ScanTest, AnUnknownEntityIsRefusedWithAReason) {
    ReplicaSide& side = system.add_replica("stock", "nothing", "nothing_copy");
    system.settle();
    const auto replicas = list_replicas(*side.sql);
    ASSERT_TRUE(replicas);
    EXPECT_EQ(replicas->front().state, ReplicaState::kRefused);
    EXPECT_NE(replicas->front().problem.find("nothing is not published"), std::string::npos);
}

TEST_P(ScanTest, RepairSeesThroughCopiedAndForgedVersions) {
    ReplicaSide& side = follow();
    system.settle();
    run_sql(
        *side.sql,
        "UPDATE items_copy SET amount = -1 WHERE shelf = 0;"
        "UPDATE items_copy SET amount = -2, instep_version = x'ffffffffffffffffffffffffffffffff' "
        "WHERE shelf = 1;"
        "INSERT INTO items_copy SELECT shelf, name || '-copy', amount, instep_version FROM "
        "items_copy WHERE shelf = 2");
    const VerificationStatus repaired = system.verify(side, VerificationPurpose::kRepair);
    EXPECT_TRUE(repaired.finished);
    EXPECT_EQ(repaired.repaired, 15U);
    EXPECT_EQ(system.verify(side).differences, 0U);
    EXPECT_EQ(copy(side), source());
}

TEST_P(ScanTest, VerifyWithWritersRunningReportsNothingThatIsNotSo) {
    ReplicaSide& side = follow();
    system.settle();
    auto transaction = Transaction::begin(*side.sql, TransactionMode::kWrite);
    const auto id = request_verification(*transaction, side.definition,
                                         VerificationPurpose::kVerify, system.random);
    ASSERT_TRUE(transaction->commit());
    for (int i = 0; i < 60; ++i) {
        system.owner_sql(
            fmt::format("UPDATE items SET amount = amount + 1 WHERE shelf = {};"
                        "DELETE FROM items WHERE name = 'n{}'",
                        i % 4, i % 20));
        system.step();
        fill(i % 20);
    }
    system.settle();
    const auto status = read_verification(*side.sql, *id);
    ASSERT_TRUE(status);
    EXPECT_TRUE(status->finished);
    EXPECT_EQ(status->differences, 0U);
    EXPECT_GT(status->rows_checked, 0U);
}

/// The id of the one backfill there is.
std::string open_scan(SyncSystem& system) { return list_scans(*system.owner, 1)->at(0).id; }

Result<void> command(SyncSystem& system, const std::string& id, ScanCommand command) {
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite).value();
    INSTEP_TRY(command_scan(transaction, id, command));
    return transaction.commit();
}

TEST_P(ScanTest, RestsWhilePausedAndGoesOnWhereItStood) {
    ReplicaSide& side = follow();
    while (list_scans(*system.owner, 1)->empty()) {
        system.step();
    }
    const std::string id = open_scan(system);
    system.step();
    ASSERT_TRUE(command(system, id, ScanCommand::kPause));
    EXPECT_EQ(command(system, id, ScanCommand::kPause).error().code, ErrorCode::kConflict);
    system.settle();
    EXPECT_EQ(list_replicas(*side.sql)->at(0).state, ReplicaState::kFilling);
    const auto sent = list_scans(*system.owner, 1)->at(0).rows_sent;

    ASSERT_TRUE(command(system, id, ScanCommand::kResume));
    EXPECT_EQ(list_scans(*system.owner, 1)->at(0).rows_sent, sent);
    system.settle();
    EXPECT_EQ(list_replicas(*side.sql)->at(0).state, ReplicaState::kLive);
    EXPECT_EQ(copy(side), source());
    EXPECT_EQ(command(system, id, ScanCommand::kPause).error().code, ErrorCode::kNotFound);
}

TEST_P(ScanTest, TellsTheConsumerThatItWasCancelled) {
    ReplicaSide& side = follow();
    while (list_scans(*system.owner, 1)->empty()) {
        system.step();
    }
    ASSERT_TRUE(command(system, open_scan(system), ScanCommand::kCancel));
    system.settle();
    const ReplicaStatus status = list_replicas(*side.sql)->at(0);
    EXPECT_EQ(status.state, ReplicaState::kRefused);
    EXPECT_EQ(status.problem, "an operator cancelled it");
}

TEST(ScanPaceTest, ReadsNoMoreRowsInASecondThanAllowed) {
    SyncSystem::Options options = small_chunks();
    options.scan.rows_per_second_max = 3;
    SyncSystem system(options);
    system.owner_sql("CREATE TABLE items (id INTEGER PRIMARY KEY)");
    system.owner_sql("INSERT INTO items VALUES (1), (2), (3), (4), (5), (6), (7), (8)");
    system.publish({{"items", "item", {"id"}, {"id"}, {}}});
    ReplicaSide& side = system.add_replica("stock", "item", "items");
    system.settle();
    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM items"), "3");
    EXPECT_TRUE(system.relays[0]->holds_back());

    system.clock.advance(std::chrono::seconds(1));
    system.settle();
    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM items"), "6");
    system.clock.advance(std::chrono::seconds(1));
    system.settle();
    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM items"), "8");
    EXPECT_FALSE(system.relays[0]->holds_back());
}

}  // namespace
}  // namespace instep
