#include "instep/replica/replica.hpp"

#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>

namespace instep {
namespace {

using test::ReplicaSide;
using test::rows_of;
using test::run_sql;
using test::SyncSystem;
using test::value_of;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

class ReplicaTest : public testing::Test {
protected:
    ReplicaTest() : ReplicaTest(SyncSystem::Options{}) {}
    explicit ReplicaTest(SyncSystem::Options options) : system(options) {
        system.owner_sql(
            "CREATE TABLE users (id TEXT NOT NULL PRIMARY KEY, name TEXT, score REAL, photo BLOB, "
            "is_active INTEGER NOT NULL DEFAULT 1, password_hash TEXT)");
        system.publish({users()});
    }

    static PublishEntry users() {
        return {"users", "user", {"id"}, {"id", "name", "score", "photo", "is_active"}, {}};
    }

    ReplicaSide& follow() { return system.add_replica("billing", "user", "lookup_users"); }

    [[nodiscard]] static std::vector<std::string> names(ReplicaSide& side) {
        return rows_of(*side.sql, "SELECT id || '=' || name FROM lookup_users ORDER BY id");
    }

    /// As a service does that starts with another file.
    void remake(ReplicaSide& side) {
        side.consumer.reset();
        side.handler =
            std::make_unique<ReplicaHandler>(side.definition, system.random, system.logger);
        system.restart_consumer(side);
        auto transaction = Transaction::begin(*side.sql, TransactionMode::kWrite);
        ASSERT_TRUE(ensure_filled(*transaction, side.definition, system.random));
        ASSERT_TRUE(transaction->commit());
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

    SyncSystem system;
};

TEST_F(ReplicaTest, HoldsTheRowsThatExistedBefore) {
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann'), ('b', 'Ben')");
    ReplicaSide& side = follow();
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("a=Ann", "b=Ben"));
    EXPECT_THAT(system.errors, IsEmpty());
}

TEST_F(ReplicaTest, FollowsInsertsUpdatesAndDeletes) {
    ReplicaSide& side = follow();
    system.settle();
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann'), ('b', 'Ben'), ('c', 'Cy')");
    system.settle();
    system.owner_sql(
        "UPDATE users SET name = 'Anna' WHERE id = 'a'; DELETE FROM users WHERE id = 'b'");
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("a=Anna", "c=Cy"));
    EXPECT_THAT(system.errors, IsEmpty());
}

TEST_F(ReplicaTest, KeepsEveryValueExactly) {
    ReplicaSide& side = follow();
    system.owner_sql(
        "INSERT INTO users (id, name, score, photo) VALUES "
        "('a', 'quote \" slash \\ line ' || char(10) || ' é 𝄞', 0.1 + 0.2, x'00FF10'),"
        "('b', '', 9e999, x''), ('c', NULL, NULL, NULL), ('d', 'x', -1e-320, NULL),"
        "('e', 'x', 1.7976931348623157e308, NULL), ('f', 'x', 5.0, NULL)");
    system.settle();
    // These come as events, not in a chunk.
    system.owner_sql(
        "INSERT INTO users (id, name, score) VALUES ('g', 'x', 0.1 + 0.2), ('h', 'x', 1e23),"
        "('i', 'x', 4.35 * 100), ('j', 'x', 2.2250738585072014e-308), ('k', 'x', -9e999)");
    system.settle();
    const char* kAll = "SELECT id, name, quote(score), hex(photo), is_active FROM {} ORDER BY id";
    EXPECT_EQ(rows_of(*side.sql, fmt::format(fmt::runtime(kAll), "lookup_users")),
              rows_of(*system.owner, fmt::format(fmt::runtime(kAll), "users")));
}

TEST_F(ReplicaTest, AKeyChangeMovesTheRow) {
    ReplicaSide& side = follow();
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann')");
    system.settle();
    system.owner_sql("UPDATE users SET id = 'z' WHERE id = 'a'");
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("z=Ann"));
}

TEST_F(ReplicaTest, RowsOfTheApplicationStayUntilTheyAreHandedOver) {
    system.owner_sql("INSERT INTO users (id, name) VALUES ('b', 'Ben')");
    ReplicaSide& side = follow();
    run_sql(*side.sql,
            "CREATE TABLE lookup_users (id TEXT NOT NULL PRIMARY KEY, name TEXT);"
            "INSERT INTO lookup_users VALUES ('a', 'precious')");
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("a=precious"));
    ASSERT_FALSE(system.errors.empty());
    const std::string& refusal = system.errors.front().message;
    const std::size_t statement = refusal.find("ALTER TABLE");
    ASSERT_NE(statement, std::string::npos) << refusal;
    run_sql(*side.sql, refusal.substr(statement));
    system.errors.clear();
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("b=Ben"));
}

TEST_F(ReplicaTest, BackfillRemovesStrays) {
    system.owner_sql("INSERT INTO users (id, name) VALUES ('b', 'Ben')");
    ReplicaSide& side = follow();
    system.settle();
    run_sql(*side.sql,
            "INSERT INTO lookup_users (id, name, instep_version) VALUES "
            "('a', 'stray', zeroblob(16)), ('c', 'stray', zeroblob(16))");
    auto transaction = Transaction::begin(*side.sql, TransactionMode::kWrite);
    ASSERT_TRUE(request_backfill(*transaction, side.definition, system.random));
    ASSERT_TRUE(transaction->commit());
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("b=Ben"));
}

TEST_F(ReplicaTest, VerifyFindsAndRepairRemovesEveryKindOfDifference) {
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann'), ('b', 'Ben'), ('c', 'Cy')");
    ReplicaSide& side = follow();
    system.settle();
    EXPECT_EQ(system.verify(side).differences, 0U);
    run_sql(*side.sql,
            "UPDATE lookup_users SET name = 'Eve' WHERE id = 'a';"
            "DELETE FROM lookup_users WHERE id = 'b';"
            "INSERT INTO lookup_users (id, name, instep_version) VALUES ('d', 'x', zeroblob(16))");
    const VerificationStatus found = system.verify(side);
    EXPECT_TRUE(found.finished);
    const auto differences = list_differences(*side.sql, found.id, 10);
    ASSERT_TRUE(differences);
    std::vector<std::string> shown;
    for (const Difference& difference : *differences) {
        shown.push_back(difference.key + " " + difference.kind);
    }
    EXPECT_THAT(shown, ElementsAre("a different", "b missing", "d stray"));

    const VerificationStatus repaired = system.verify(side, VerificationPurpose::kRepair);
    EXPECT_TRUE(repaired.finished);
    EXPECT_EQ(repaired.repaired, 3U);
    EXPECT_EQ(system.verify(side).differences, 0U);
    EXPECT_THAT(names(side), ElementsAre("a=Ann", "b=Ben", "c=Cy"));
}

TEST_F(ReplicaTest, AnOldEventChangesNothing) {
    ReplicaSide& side = follow();
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann'), ('b', 'Ben')");
    system.settle();
    system.owner_sql(
        "UPDATE users SET name = 'Anna' WHERE id = 'a'; DELETE FROM users WHERE id = 'b'");
    system.settle();
    const auto before = list_progress(*side.sql)->front().counts;
    // The relay forgets where it was and publishes everything again.
    system.owner_sql("UPDATE instep_cursor SET seq = 0");
    system.restart_relay();
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("a=Anna"));
    const auto after = list_progress(*side.sql)->front().counts;
    EXPECT_EQ(after.applied, before.applied);
    EXPECT_GT(after.duplicates_ignored + after.stale_ignored,
              before.duplicates_ignored + before.stale_ignored);
}

TEST_F(ReplicaTest, ADeletedRowComesBackOnlyByANewInsert) {
    ReplicaSide& side = follow();
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann'); DELETE FROM users");
    system.settle();
    system.owner_sql("UPDATE instep_cursor SET seq = 0");
    system.restart_relay();
    (void)system.relays.front()->run_once();
    (void)side.consumer->run_once();
    EXPECT_THAT(names(side), IsEmpty());
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann again')");
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("a=Ann again"));
}

TEST_F(ReplicaTest, ADeletionBeforeTheFirstChunkIsRemembered) {
    ReplicaSide& side = follow();
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann'); DELETE FROM users");
    system.settle();
    // A relay that was replaced and does not know it publishes what it had read: the insert.
    system.owner_sql("DELETE FROM instep_log WHERE type = 'user.deleted'");
    system.owner_sql("UPDATE instep_cursor SET seq = 0");
    system.restart_relay();
    system.settle();
    EXPECT_THAT(names(side), IsEmpty());
}

TEST_F(ReplicaTest, ColumnsCanBeLeftOutAndRenamed) {
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann')");
    ReplicaSide& side =
        system.add_replica("billing", "user", "people", {{"id", "user_id"}, {"name", "full_name"}});
    system.settle();
    system.owner_sql(
        "UPDATE users SET score = 1.5; INSERT INTO users (id, name) VALUES ('b', 'Ben')");
    system.settle();
    EXPECT_THAT(rows_of(*side.sql, "SELECT user_id, full_name FROM people ORDER BY 1"),
                ElementsAre("a|Ann", "b|Ben"));
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_F(ReplicaTest, AColumnThatIsMappedLaterIsFilled) {
    system.owner_sql("INSERT INTO users (id, name, score) VALUES ('a', 'Ann', 0.5)");
    ReplicaSide& side =
        system.add_replica("billing", "user", "lookup_users", {{"id", "id"}, {"name", "name"}});
    system.settle();
    side.definition.columns.emplace_back("score", "points");
    const auto changes = plan_replica(*side.sql, side.definition, nullptr);
    ASSERT_TRUE(changes);
    ASSERT_EQ(changes->size(), 1U);
    run_sql(*side.sql, changes->front().sql + "; ALTER TABLE lookup_users ADD COLUMN points REAL");
    remake(side);
    system.settle();
    EXPECT_THAT(rows_of(*side.sql, "SELECT id, points FROM lookup_users"), ElementsAre("a|0.5"));
    EXPECT_THAT(*plan_replica(*side.sql, side.definition, nullptr), IsEmpty());
}

TEST_F(ReplicaTest, AColumnThatIsMappedBeforeItsContractIsKnownIsFilled) {
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann')");
    ReplicaSide& side =
        system.add_replica("billing", "user", "lookup_users", {{"id", "id"}, {"name", "name"}});
    system.settle();
    system.owner_sql("ALTER TABLE users ADD COLUMN title TEXT DEFAULT 'Dr'");
    PublishEntry wider = users();
    wider.columns.emplace_back("title");
    system.publish({wider});
    side.definition.columns.emplace_back("title", "title");
    run_sql(*side.sql, plan_replica(*side.sql, side.definition, nullptr)->front().sql);
    remake(side);
    system.owner_sql("INSERT INTO users (id, name, title) VALUES ('b', 'Ben', 'Mr')");
    system.settle();
    EXPECT_THAT(rows_of(*side.sql, "SELECT id, title FROM lookup_users ORDER BY id"),
                ElementsAre("a|Dr", "b|Mr"));
    EXPECT_THAT(system.errors, IsEmpty());
}

TEST_F(ReplicaTest, AnAddedColumnArrivesWithItsContract) {
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann')");
    ReplicaSide& side = follow();
    system.settle();
    system.owner_sql("ALTER TABLE users ADD COLUMN title TEXT DEFAULT 'Dr'");
    PublishEntry wider = users();
    wider.columns.emplace_back("title");
    system.publish({wider});
    system.owner_sql("INSERT INTO users (id, name, title) VALUES ('b', 'Ben', 'Mr')");
    system.settle();
    EXPECT_THAT(rows_of(*side.sql, "SELECT id, title FROM lookup_users ORDER BY id"),
                ElementsAre("a|Dr", "b|Mr"));
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_F(ReplicaTest, AConstraintOfTheLocalTableBlocksItsKeyOnly) {
    ReplicaSide& side = follow();
    system.settle();
    run_sql(*side.sql,
            "CREATE TRIGGER no_eve BEFORE INSERT ON lookup_users WHEN NEW.name = 'Eve' "
            "BEGIN SELECT RAISE(ABORT, 'Eve is not welcome'); END");
    system.owner_sql(
        "INSERT INTO users (id, name) VALUES ('a', 'Ann'), ('e', 'Eve'), ('b', 'Ben')");
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("a=Ann", "b=Ben"));
    const auto explained = explain_row(*side.sql, side.definition, "e");
    ASSERT_TRUE(explained);
    EXPECT_EQ(explained->parked_events, 1U);
    EXPECT_NE(explained->parked_because.find("not welcome"), std::string::npos);
    run_sql(*side.sql, "DROP TRIGGER no_eve");
    system.clock.advance(std::chrono::minutes(1));
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("a=Ann", "b=Ben", "e=Eve"));
}

TEST_F(ReplicaTest, ALaterStateTakesThePlaceOfOneThatWasRefused) {
    ReplicaSide& side = follow();
    system.settle();
    run_sql(*side.sql,
            "CREATE TRIGGER no_eve BEFORE INSERT ON lookup_users WHEN NEW.name = 'Eve' "
            "BEGIN SELECT RAISE(ABORT, 'Eve is not welcome'); END");
    system.owner_sql("INSERT INTO users (id, name) VALUES ('e', 'Eve'), ('f', 'Eve')");
    system.settle();
    ASSERT_THAT(names(side), IsEmpty());
    system.owner_sql("UPDATE users SET name = 'Eva' WHERE id = 'e'");
    system.owner_sql("DELETE FROM users WHERE id = 'f'");
    system.settle();
    ASSERT_EQ(explain_row(*side.sql, side.definition, "e")->parked_events, 2U);
    system.clock.advance(std::chrono::minutes(1));
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("e=Eva"));
    EXPECT_EQ(explain_row(*side.sql, side.definition, "e")->parked_events, 0U);
    EXPECT_EQ(explain_row(*side.sql, side.definition, "f")->parked_events, 0U);
}

TEST_F(ReplicaTest, ALaterStateIsFoundBehindManyThatWereRefused) {
    ReplicaSide& side = follow();
    system.settle();
    run_sql(*side.sql,
            "CREATE TRIGGER no_eve BEFORE INSERT ON lookup_users WHEN NEW.name LIKE 'Eve%' "
            "BEGIN SELECT RAISE(ABORT, 'Eve is not welcome'); END");
    system.owner_sql("INSERT INTO users (id, name) VALUES ('e', 'Eve'), ('f', 'Eve')");
    system.settle();
    for (int i = 0; i < 30; ++i) {
        system.owner_sql(fmt::format("UPDATE users SET name = 'Eve {}'", i));
    }
    system.owner_sql("UPDATE users SET name = 'Eva'");
    system.settle();
    ASSERT_EQ(explain_row(*side.sql, side.definition, "e")->parked_events, 32U);
    system.clock.advance(std::chrono::minutes(1));
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("e=Eva", "f=Eva"));
}

TEST_F(ReplicaTest, ExplainsARowAndADeletedOne) {
    ReplicaSide& side = follow();
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann'), ('b', 'Ben')");
    system.settle();
    system.owner_sql("DELETE FROM users WHERE id = 'b'");
    system.settle();
    const auto row = explain_row(*side.sql, side.definition, "a");
    ASSERT_TRUE(row);
    EXPECT_TRUE(row->version);
    EXPECT_EQ(row->row[1], (std::pair<std::string, std::string>{"name", "Ann"}));
    const auto gone = explain_row(*side.sql, side.definition, "b");
    ASSERT_TRUE(gone);
    EXPECT_TRUE(gone->row.empty());
    EXPECT_TRUE(gone->deleted_at);
}

TEST_F(ReplicaTest, ForgetsOnlyTombstonesThatAreOldEnough) {
    ReplicaSide& side = follow();
    system.owner_sql("INSERT INTO users (id, name) VALUES ('a', 'Ann')");
    system.settle();
    system.owner_sql("DELETE FROM users");
    system.settle();
    auto transaction = Transaction::begin(*side.sql, TransactionMode::kWrite);
    EXPECT_EQ(
        trim_tombstones(*transaction, system.clock.now() - std::chrono::hours(1), 10).value_or(9),
        0U)
        << "the tombstone is younger";
    EXPECT_EQ(
        trim_tombstones(*transaction, system.clock.now() + std::chrono::hours(1), 10).value_or(0),
        1U);
}

}  // namespace
}  // namespace instep
