// Everything that keeps a replica in step, with changes taken from PostgreSQL's write-ahead log.
#pragma once

#include "tests/support/eventually.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace instep::test {

using namespace std::chrono_literals;

class PostgresWal : public testing::Test {
protected:
    /// Of ten events a batch, so that a few rows are several.
    PostgresWal() : PostgresWal(options()) {}

    explicit PostgresWal(const SyncSystem::Options& options) : system(options) {
        system.owner_sql(
            "CREATE TABLE users (id bigint PRIMARY KEY, name text, bio text, password_hash text)");
        system.publish({users()});
    }

    static SyncSystem::Options options() {
        SyncSystem::Options options;
        options.owner = Home::kPostgres;
        options.scan.chunk_rows_max = 7;
        options.scan.digest_rows = 5;
        options.batch_events_max = 10;
        options.capture = CaptureBy::kWal;
        options.wal.heartbeat = 20ms;
        options.wal.linger = 100ms;
        options.wal.status_interval = 20ms;
        options.wal.topics = {"iam.user"};
        options.wal.budget_bytes = 20ULL * 1024 * 1024;
        return options;
    }

    static PublishEntry users() { return {"users", "user", {"id"}, {"id", "name", "bio"}, {}}; }

    ReplicaSide& follow() { return system.add_replica("billing", "user", "lookup_users"); }

    void given_users(int first, int last) {
        system.owner_sql(
            fmt::format("INSERT INTO users (id, name) SELECT i, 'user ' || i FROM "
                        "generate_series({}, {}) i",
                        first, last));
    }

    static std::vector<std::string> names(ReplicaSide& side) {
        return rows_of(*side.sql, "SELECT name FROM lookup_users ORDER BY id");
    }

    /// Events of the topic on the broker, as "type key".
    std::vector<std::string> published(std::string_view columns = "type || ' ' || key") {
        auto broker = system.broker_database->connect().value();
        return rows_of(*broker,
                       fmt::format("SELECT {} FROM instep_message WHERE position >> 40 = (SELECT "
                                   "id FROM instep_slot WHERE topic = 'iam.user') ORDER BY "
                                   "position",
                                   columns));
    }

    /// Keys that were created more than once on the broker.
    std::vector<std::string> repeated() {
        auto broker = system.broker_database->connect().value();
        return rows_of(*broker,
                       "SELECT key FROM instep_message WHERE type = 'user.created' GROUP BY key "
                       "HAVING count(*) > 1");
    }

    /// The verification's id; nothing moves yet.
    std::string ask_to_verify(ReplicaSide& side) {
        auto transaction = Transaction::begin(*side.sql, TransactionMode::kWrite).value();
        std::string id = request_verification(transaction, side.definition,
                                              VerificationPurpose::kVerify, system.random)
                             .value();
        EXPECT_TRUE(transaction.commit());
        return id;
    }

    std::uint32_t epoch() {
        return static_cast<std::uint32_t>(
            std::stoul(value_of(*system.owner, "SELECT epoch FROM instep.log_identity")));
    }

    void wait_until_the_slot_is_free() {
        ASSERT_TRUE(eventually([&] {
            return value_of(*system.owner,
                            "SELECT count(*) FROM pg_replication_slots WHERE active") == "0";
        }));
    }

    /// A reader by snapshot that runs through a switch learns of it by being fenced.
    void forget_handovers() {
        std::erase_if(system.errors, [](const Error& e) { return e.code == ErrorCode::kFenced; });
    }

    /// A commit waits for a standby that does not exist: it is in the log and nobody sees it.
    void let_commits_wait() {
        system.owner_sql("ALTER SYSTEM SET synchronous_commit = local");
        system.owner_sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        system.owner_sql("SELECT pg_reload_conf()");
    }

    void let_commits_go() {
        system.owner_sql("ALTER SYSTEM RESET synchronous_standby_names");
        system.owner_sql("ALTER SYSTEM RESET synchronous_commit");
        system.owner_sql("SELECT pg_reload_conf()");
    }

    /// Returns when it waits; its thread ends when commits are let go.
    std::jthread waiting_writer(std::string_view sql) {
        std::jthread writer([this, sql = std::string(sql)] {
            auto connection = system.owner_database->connect().value();
            run_sql(*connection, "SET synchronous_commit = on");
            run_sql(*connection, sql);
        });
        EXPECT_TRUE(eventually([&] {
            return value_of(*system.owner,
                            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = "
                            "'SyncRep'") == "1";
        }));
        return writer;
    }

    bool logged(std::string_view word) {
        return std::ranges::any_of(system.log_lines.lines(),
                                   [&](const std::string& line) { return line.contains(word); });
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

/// With batches as in production.
class PostgresWalWithWriters : public PostgresWal {
protected:
    /// Null: the shared one.
    explicit PostgresWalWithWriters(PostgresServer* server = nullptr)
        : PostgresWal(large_batches(server)) {}

    static SyncSystem::Options large_batches(PostgresServer* server) {
        SyncSystem::Options large = options();
        large.server = server;
        large.batch_events_max = 1000;
        large.wal.linger = 20ms;
        large.wal.budget_bytes = 1024ULL * 1024 * 1024;
        return large;
    }
};

}  // namespace instep::test
