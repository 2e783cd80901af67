// What happens to PostgreSQL servers: they crash, are replaced by an older copy of themselves,
// are restored from a dump, and end connections. Afterwards replicas equal their source.
#include "tests/support/eventually.hpp"
#include "tests/support/postgres_server.hpp"
#include "tests/support/postgres_session.hpp"
#include "tests/support/process.hpp"
#include "tests/support/sync_system.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <sys/mount.h>

namespace instep {
namespace {

using test::Home;
using test::PostgresServer;
using test::PostgresSession;
using test::ReplicaSide;
using test::rows_of;
using test::SyncSystem;
using test::value_of;
using testing::IsEmpty;

class PostgresFaults : public testing::Test {
protected:
    PostgresFaults() {
        PostgresSession(url()).run(
            "CREATE TABLE users (id integer PRIMARY KEY, name text); "
            "CREATE TABLE busy (n integer)");
        system.publish({{"users", "user", {"id"}, {"id", "name"}, {}}});
    }

    [[nodiscard]] std::string url() const { return system.servers.front()->url(); }

    void given_users(int first, int last) {
        PostgresSession(url()).run(
            fmt::format("INSERT INTO users SELECT n, 'user ' || n FROM generate_series({}, {}) n",
                        first, last));
    }

    /// Transaction ids are handed out, and nothing of it reaches the disk.
    std::uint64_t use_ids() {
        PostgresSession session(url());
        session.run(
            "SET synchronous_commit = off; BEGIN; DO $$ BEGIN FOR i IN 1..200 LOOP "
            "BEGIN INSERT INTO busy VALUES (i); EXCEPTION WHEN others THEN NULL; END; "
            "END LOOP; END $$; ROLLBACK");
        return std::stoull(session.run("SELECT pg_snapshot_xmax(pg_current_snapshot())"));
    }

    static void run_shell(const std::string& command) {
        test::ProcessOptions options;
        options.arguments = {"-c", command};
        const test::Finished done = test::run_process("/bin/sh", options);
        ASSERT_EQ(done.exit, 0) << done.err;
    }

    /// Steps until the flows have got over what happened, and the replica is as its source.
    void expect_in_step(ReplicaSide& side) {
        // Each flow finds out by an error of its own.
        for (int i = 0; i < 5; ++i) {
            system.step();
        }
        system.errors.clear();
        system.settle();
        for (const Error& error : system.errors) {
            ADD_FAILURE() << error.message;
        }
        PostgresSession owner(url());
        EXPECT_EQ(rows_of(*side.sql,
                          "SELECT count(*) || ' ' || min(id) || ' ' || max(name) "
                          "FROM lookup_users")
                      .front(),
                  owner.run("SELECT count(*) || ' ' || min(id) || ' ' || max(name) FROM users"));
        EXPECT_EQ(system.verify(side).differences, 0U);
    }

    PostgresServer server{{.settings = {"wal_writer_delay = 10s"}}};
    SyncSystem system{{.owner = Home::kPostgres, .server = &server}};
};

TEST_F(PostgresFaults, ACrashedServerMayHandOutTheSameIdsAgain) {
    ReplicaSide& side = system.add_replica("billing", "user", "lookup_users");
    given_users(1, 3);
    system.settle();
    // Unless something has just made the server write its log.
    ASSERT_TRUE(test::eventually([&] {
        for (int i = 0; i < 5; ++i) {
            system.step();
        }
        const std::uint64_t before = use_ids();
        system.step();
        server.stop_immediately();
        server.start();
        return std::stoull(PostgresSession(url()).run("SELECT pg_current_xact_id()")) < before;
    }));
    given_users(4, 6);

    expect_in_step(side);
}

TEST_F(PostgresFaults, AnOlderCopyOfTheServerBeginsAnEpoch) {
    ReplicaSide& side = system.add_replica("billing", "user", "lookup_users");
    given_users(1, 3);
    system.settle();
    const std::string data = server.folder() + "/data";
    server.stop_fast();
    run_shell(fmt::format("cp -a {0} {0}.copy", data));
    server.start();
    given_users(10, 20);
    for (int i = 0; i < 5; ++i) {
        system.step();
    }
    system.settle();
    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM lookup_users"), "14");
    server.stop_immediately();
    run_shell(fmt::format("rm -r {0} && mv {0}.copy {0}", data));
    server.start();
    given_users(4, 5);

    expect_in_step(side);
    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM lookup_users"), "5");
    EXPECT_EQ(PostgresSession(url()).run("SELECT epoch FROM instep.log_identity"), "2");
}

TEST_F(PostgresFaults, ADumpRestoredUnderTheSameNameBeginsAnEpoch) {
    ReplicaSide& side = system.add_replica("billing", "user", "lookup_users");
    given_users(1, 3);
    system.settle();
    given_users(4, 5);
    const std::string name = system.servers.front()->name();
    const std::string dump = system.dir.file("dump.sql");
    run_shell(fmt::format("pg_dump {} > {}", url(), dump));
    given_users(10, 20);
    system.settle();
    const std::string incarnation =
        PostgresSession(url()).run("SELECT incarnation FROM instep.log_identity");
    PostgresSession admin(server.url());
    admin.run(fmt::format("DROP DATABASE {} WITH (FORCE)", name));
    admin.run(fmt::format("CREATE DATABASE {} TEMPLATE template0", name));
    run_shell(fmt::format("psql -qX -v ON_ERROR_STOP=1 {} < {}", url(), dump));
    PostgresSession(url()).run(
        "BEGIN; SAVEPOINT s; INSERT INTO users VALUES (6, 'user 6'); "
        "RELEASE s; COMMIT");

    expect_in_step(side);
    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM lookup_users"), "6");
    EXPECT_NE(PostgresSession(url()).run("SELECT incarnation FROM instep.log_identity"),
              incarnation);
    EXPECT_EQ(PostgresSession(url()).run("SELECT epoch FROM instep.log_identity"), "2");
}

TEST_F(PostgresFaults, EndedServerProcessesChangeNothing) {
    ReplicaSide& side = system.add_replica("billing", "user", "lookup_users");
    for (int i = 0; i < 10; ++i) {
        given_users(10 * i, 10 * i + 9);
        system.step();
        PostgresSession(url()).run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()");
        system.step();
    }
    expect_in_step(side);
    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM lookup_users"), "100");
}

TEST_F(PostgresFaults, ASourceThatCrashesAgainAndAgainLosesNothing) {
    ReplicaSide& side = system.add_replica("billing", "user", "lookup_users");
    for (int i = 0; i < 5; ++i) {
        given_users(20 * i, 20 * i + 9);
        system.step();
        server.stop_immediately();
        server.start();
        given_users(20 * i + 10, 20 * i + 19);
        system.step();
    }
    expect_in_step(side);
    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM lookup_users"), "100");
}

/// The replica is on the server, its source on SQLite.
class PostgresReplicaFaults : public testing::Test {
protected:
    PostgresReplicaFaults() {
        system.owner_sql("CREATE TABLE users (id integer PRIMARY KEY, name text)");
        system.publish({{"users", "user", {"id"}, {"id", "name"}, {}}});
        side = &system.add_replica("billing", "user", "lookup_users");
        system.settle();
    }

    [[nodiscard]] std::string url() const { return system.servers.front()->url(); }

    void given_users(int count) {
        for (int i = 0; i < count; ++i) {
            system.owner_sql(
                fmt::format("INSERT INTO users VALUES ({}, '{}')", ++users, std::string(500, 'x')));
        }
    }

    void expect_in_step() {
        for (int i = 0; i < 5; ++i) {
            system.step();
        }
        system.errors.clear();
        system.settle();
        for (const Error& error : system.errors) {
            ADD_FAILURE() << error.message;
        }
        PostgresSession replica(url());
        EXPECT_EQ(replica.run("SELECT count(*) FROM lookup_users"), fmt::format("{}", users));
        EXPECT_EQ(replica.run("SELECT count(*) FROM instep.parked_key"), "0");
        for (int i = 0; i < 3; ++i) {
            std::ignore = list_replicas(*side->sql);
        }
        EXPECT_EQ(system.verify(*side).differences, 0U);
    }

    PostgresServer server;
    SyncSystem system{{.replicas = Home::kPostgres, .batch_events_max = 50, .server = &server}};
    ReplicaSide* side = nullptr;
    int users = 0;
};

TEST_F(PostgresReplicaFaults, AReplicaThatCrashesAgainAndAgainLosesNothing) {
    for (int i = 0; i < 5; ++i) {
        given_users(20);
        system.step();
        server.stop_immediately();
        server.start();
        given_users(20);
        system.step();
    }
    expect_in_step();
}

bool answers(PostgresSession& session) {
    try {
        return session.run("SELECT 1") == "1";
    } catch (const std::runtime_error&) {
        return false;
    }
}

TEST_F(PostgresReplicaFaults, AKilledServerProcessTakesTheOthersAlong) {
    for (int i = 0; i < 3; ++i) {
        given_users(20);
        system.step();
        PostgresSession witness(url());
        const std::string process = witness.run(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() LIMIT 1");
        ASSERT_EQ(kill(std::stoi(process), SIGKILL), 0);
        // The server ends all connections without a word, and recovers.
        EXPECT_TRUE(test::eventually([&] { return !answers(witness); }));
        EXPECT_TRUE(test::eventually([&] {
            system.step();
            try {
                PostgresSession another(url());
                return answers(another);
            } catch (const std::runtime_error&) {
                return false;
            }
        }));
    }
    expect_in_step();
}

/// A small disk of this test's own, gone with its processes. Needs the right to mount.
class PostgresFullDisk : public testing::Test {
protected:
    static bool mount_is_allowed() {
        return unshare(CLONE_NEWNS) == 0 &&
               mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    }

    [[nodiscard]] bool has_disk(const char* size) const {
        const std::string options = std::string("mode=0777,size=") + size;
        return mount("tmpfs", disk.path().c_str(), "tmpfs", mounted_ ? MS_REMOUNT : 0,
                     options.c_str()) == 0;
    }

    test::TempDir disk;
    bool mounted_ = false;
};

TEST_F(PostgresFullDisk, PausesAReplicaAndLosesNothing) {
    if (!mount_is_allowed()) {
        GTEST_SKIP() << "a small disk cannot be mounted here";
    }
    ASSERT_TRUE(has_disk("1m"));
    mounted_ = true;
    std::filesystem::permissions(disk.path().parent_path(), std::filesystem::perms::others_exec,
                                 std::filesystem::perm_options::add);
    PostgresServer server;
    SyncSystem system{{.replicas = Home::kPostgres, .batch_events_max = 200, .server = &server}};
    system.owner_sql("CREATE TABLE users (id integer PRIMARY KEY, name text)");
    system.publish({{"users", "user", {"id"}, {"id", "name"}, {}}});
    ReplicaSide& side = system.add_replica("billing", "user", "lookup_users");
    system.settle();
    PostgresSession replica(system.servers.front()->url());
    const std::string folder = disk.path().string() + "/space";
    // Made by the server, whose user must own it.
    replica.run("COPY (SELECT 1) TO PROGRAM 'mkdir -m 700 " + folder + "'");
    replica.run("CREATE TABLESPACE small LOCATION '" + folder + "'");
    replica.run("ALTER TABLE lookup_users SET TABLESPACE small");
    for (int i = 0; i < 2000; ++i) {
        system.owner_sql(
            fmt::format("INSERT INTO users VALUES ({}, '{}')", i, std::string(1000, 'x')));
    }
    for (int i = 0; i < 30; ++i) {
        system.step();
    }
    ASSERT_FALSE(system.errors.empty());
    EXPECT_EQ(system.errors.back().code, ErrorCode::kStorageFull) << system.errors.back().message;
    EXPECT_EQ(replica.run("SELECT count(*) FROM instep.parked_key"), "0");
    const int arrived = std::stoi(replica.run("SELECT count(*) FROM lookup_users"));
    EXPECT_LT(arrived, 2000);

    ASSERT_TRUE(has_disk("64m"));
    system.errors.clear();
    system.settle();
    EXPECT_THAT(system.errors, IsEmpty());
    EXPECT_EQ(replica.run("SELECT count(*) FROM lookup_users"), "2000");
    EXPECT_EQ(system.verify(side).differences, 0U);
    replica.run("ALTER TABLE lookup_users SET TABLESPACE pg_default");
    replica.run("DROP TABLESPACE small");
}

}  // namespace
}  // namespace instep
