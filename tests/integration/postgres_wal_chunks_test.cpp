// Backfills, verifications and repairs that stand where the write-ahead log says.
#include "tests/integration/postgres_wal_fixture.hpp"

#include <gmock/gmock.h>

#include <algorithm>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::PostgresWal;
using test::PostgresWalWithWriters;
using test::ReplicaSide;
using test::rows_of;
using test::run_sql;
using test::value_of;
using testing::Contains;

TEST_F(PostgresWal, FillsAReplicaWhileWritersGoOn) {
    given_users(1, 100);
    ReplicaSide& side = follow();
    for (int i = 0; i < 20; ++i) {
        system.step();
        system.owner_sql(fmt::format("DELETE FROM users WHERE id = {}", 4 * i + 5));
        system.owner_sql(fmt::format("UPDATE users SET name = 'x' WHERE id = {}", 100 - 4 * i));
        system.owner_sql(fmt::format("INSERT INTO users VALUES ({}, 'new')", 200 + i));
    }
    system.settle();

    EXPECT_EQ(rows_of(*side.sql, "SELECT id, name FROM lookup_users ORDER BY id"),
              rows_of(*system.owner, "SELECT id, name FROM users ORDER BY id"));
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_F(PostgresWal, AChangeThatNobodySeesYetIsNotOverwrittenByAChunk) {
    given_users(1, 5);
    system.settle();
    let_commits_wait();
    std::jthread writer = waiting_writer("UPDATE users SET name = 'newest' WHERE id = 3");
    ReplicaSide& side = follow();
    system.settle();
    EXPECT_EQ(value_of(*system.owner, "SELECT name FROM users WHERE id = 3"), "user 3");
    EXPECT_THAT(published(), Contains("user.updated 3"));
    EXPECT_EQ(list_scans(*system.owner, 1).value().front().state, "open");

    let_commits_go();
    writer.join();
    system.settle();
    EXPECT_EQ(value_of(*side.sql, "SELECT name FROM lookup_users WHERE id = 3"), "newest");
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_F(PostgresWalWithWriters, FillsAndVerifies) {
    given_users(1, 60);
    std::vector<std::jthread> writers;
    for (int w = 0; w < 4; ++w) {
        writers.emplace_back([&, w](const std::stop_token& stop) {
            auto sql = system.owner_database->connect().value();
            for (int i = 0; !stop.stop_requested(); ++i) {
                const int key = (w * 17 + i * 7) % 60 + 1;
                const std::string remove = fmt::format("DELETE FROM users WHERE id = {}", key);
                const std::string write = fmt::format(
                    "INSERT INTO users VALUES ({}, '{}.{}') ON CONFLICT (id) DO UPDATE SET "
                    "name = excluded.name",
                    key, w, i);
                run_sql(*sql, i % 5 == 0 ? remove : write);
            }
        });
    }
    ReplicaSide& side = follow();
    const auto is_live = [&] {
        return list_replicas(*side.sql).value().front().state == ReplicaState::kLive;
    };
    for (int i = 0; i < 2000 && !is_live(); ++i) {
        system.step();
    }
    ASSERT_TRUE(is_live());
    const std::string id = ask_to_verify(side);
    for (int i = 0; i < 2000 && !read_verification(*side.sql, id).value().finished; ++i) {
        system.step();
    }
    const VerificationStatus under_way = read_verification(*side.sql, id).value();
    writers.clear();
    system.settle();

    EXPECT_TRUE(under_way.finished);
    EXPECT_EQ(under_way.differences, 0U);
    EXPECT_EQ(rows_of(*side.sql, "SELECT id, name FROM lookup_users ORDER BY id"),
              rows_of(*system.owner, "SELECT id, name FROM users ORDER BY id"));
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_F(PostgresWal, ProvesAndRepairsDamage) {
    given_users(1, 40);
    ReplicaSide& side = follow();
    system.settle();
    EXPECT_EQ(system.verify(side).differences, 0U);
    run_sql(*side.sql, "UPDATE lookup_users SET name = 'wrong' WHERE id = 7");
    run_sql(*side.sql, "DELETE FROM lookup_users WHERE id = 8");

    EXPECT_EQ(system.verify(side).differences, 2U);
    EXPECT_EQ(system.verify(side, VerificationPurpose::kRepair).repaired, 2U);
    EXPECT_EQ(system.verify(side).differences, 0U);
}

/// Commits take a while until they are seen, unless they do not wait for the disk.
struct SlowServer {
    test::PostgresServer server{
        {.settings = {"commit_delay = 20000", "commit_siblings = 0"}, .fsync = true}};
};

class PostgresWalOnASlowDisk : private SlowServer, public PostgresWalWithWriters {
protected:
    PostgresWalOnASlowDisk() : PostgresWalWithWriters(&server) {}

    /// They never pause. At nearly every moment there is a commit that nobody sees yet, and one
    /// that came later and is seen.
    std::vector<std::jthread> start_writers() {
        std::vector<std::jthread> writers;
        for (int w = 0; w < 6; ++w) {
            writers.emplace_back([this, w](const std::stop_token& stop) {
                auto sql = system.owner_database->connect().value();
                run_sql(*sql,
                        w < 2 ? "SET synchronous_commit = on" : "SET synchronous_commit = off");
                for (int i = 0; !stop.stop_requested(); ++i) {
                    const int key = (w * 17 + i * 7) % 100 + 1;
                    run_sql(*sql, fmt::format(i % 5 == 0
                                                  ? fmt::runtime("DELETE FROM users WHERE id = {}")
                                                  : fmt::runtime("INSERT INTO users VALUES ({0}, "
                                                                 "'{1}.{2}') ON CONFLICT (id) DO "
                                                                 "UPDATE SET name = excluded.name"),
                                              key, w, i));
                    if (w >= 2) {
                        run_sql(*sql, "SELECT pg_sleep(0.001)");
                    }
                }
            });
        }
        return writers;
    }
};

TEST_F(PostgresWalOnASlowDisk, AVerificationIsNotPutOffByWritersThatNeverPause) {
    given_users(1, 100);
    ReplicaSide& side = follow();
    system.settle();
    auto writers = start_writers();
    // Put off at every such moment they took 40 to 130.
    constexpr int kStepsMax = 30;
    int steps = 0;
    for (int round = 0; round < 3; ++round) {
        const std::string id = ask_to_verify(side);
        const auto status = [&] { return read_verification(*side.sql, id).value(); };
        for (; steps < kStepsMax && !status().finished; ++steps) {
            system.step();
        }
        EXPECT_EQ(status().differences, 0U);
    }
    EXPECT_LT(steps, kStepsMax);
    // No range had to be looked at key by key.
    EXPECT_EQ(value_of(*side.sql, "SELECT max(scans_asked) FROM instep_verification"), "1");
    writers.clear();
    system.settle();
    // Its mark makes the server write what commits have not waited for.
    EXPECT_EQ(system.verify(side).differences, 0U);
    EXPECT_EQ(rows_of(*side.sql, "SELECT id, name FROM lookup_users ORDER BY id"),
              rows_of(*system.owner, "SELECT id, name FROM users ORDER BY id"));
}

/// Takes nothing for granted that the server has not sent yet.
class PostgresWalInAHurry : public PostgresWal {
protected:
    PostgresWalInAHurry() : PostgresWal(hurried()) {}

    static test::SyncSystem::Options hurried() {
        test::SyncSystem::Options options = PostgresWal::options();
        options.wal.linger = 0ms;
        return options;
    }
};

TEST_F(PostgresWalInAHurry, ADigestWaitsForWhatAReaderBroughtBeforeItDied) {
    given_users(1, 20);
    ReplicaSide& side = follow();
    system.settle();
    // The reader brings a change that nobody sees yet, and cannot say so.
    system.owner_sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE "
        "'refused'; END $$; CREATE TRIGGER refuse BEFORE UPDATE ON instep.wal_cursor "
        "FOR EACH ROW EXECUTE FUNCTION refuse()");
    let_commits_wait();
    std::jthread writer = waiting_writer("UPDATE users SET name = 'newest' WHERE id = 3");
    EXPECT_TRUE(test::eventually([&] {
        system.step();
        return value_of(*side.sql, "SELECT name FROM lookup_users WHERE id = 3") == "newest";
    }));
    const std::string id = ask_to_verify(side);
    const auto step_on = [&] {
        for (int steps = 0; steps < 15; ++steps) {
            system.step();
        }
    };
    step_on();
    system.owner_sql("DROP TRIGGER refuse ON instep.wal_cursor");
    system.restart_relay();
    step_on();
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_scan WHERE state = 'open'"),
              "1");
    EXPECT_EQ(value_of(*side.sql, "SELECT max(scans_asked) FROM instep_verification"), "1");

    let_commits_go();
    writer.join();
    system.errors.clear();
    EXPECT_TRUE(test::eventually([&] {
        system.step();
        return read_verification(*side.sql, id).value().finished;
    }));
    EXPECT_EQ(read_verification(*side.sql, id).value().differences, 0U);
    EXPECT_EQ(value_of(*side.sql, "SELECT max(scans_asked) FROM instep_verification"), "1");
}

}  // namespace
}  // namespace instep
