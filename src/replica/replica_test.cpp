#include "instep/replica/replica.hpp"

#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace instep
