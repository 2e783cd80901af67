// Commits that others may see before they survive a failure of the server.
#include "instep/base/clock.hpp"
#include "instep/db/connection.hpp"
#include "instep/db/postgres/database.hpp"
#include "tests/support/pgbouncer.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/postgres_server.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace instep {
namespace {

using test::run_postgres;

class RelaxedCommitTest : public testing::Test {
protected:
    RelaxedCommitTest() { run_postgres(own_.url(), "CREATE TABLE rows (id integer)"); }

    std::unique_ptr<Connection> connect(const std::string& url) {
        database_ = open_postgres(url, clock_).value();
        return database_->connect().value();
    }

    std::unique_ptr<Connection> connect() { return connect(own_.url()); }

    /// Returns whether the commit was relaxed.
    static bool insert(Connection& connection) {
        Transaction transaction = Transaction::begin(connection, TransactionMode::kWrite).value();
        const bool is_relaxed = connection.relax_commit().value();
        EXPECT_TRUE(transaction.execute("INSERT INTO rows VALUES (1)"));
        EXPECT_TRUE(transaction.commit());
        return is_relaxed;
    }

    [[nodiscard]] std::string rows() const {
        return run_postgres(own_.url(), "SELECT count(*) FROM rows");
    }

    void crash() {
        server_.stop_immediately();
        server_.start();
    }

    /// Nothing else brings a commit to the disk.
    test::PostgresServer server_{{.settings = {"wal_writer_delay = 10s", "autovacuum = off"}}};
    test::PostgresDatabase own_{server_};
    SystemClock clock_;
    std::unique_ptr<Database> database_;
};

TEST_F(RelaxedCommitTest, WhatIsFlushedSurvives) {
    const auto connection = connect();
    EXPECT_TRUE(insert(*connection));
    EXPECT_TRUE(connection->flush());
    crash();
    EXPECT_EQ(rows(), "1");
}

TEST_F(RelaxedCommitTest, ALostSessionIsToldOnce) {
    const auto connection = connect();
    insert(*connection);
    EXPECT_EQ(rows(), "1");
    crash();
    // A statement finds out, and the next one has another session.
    EXPECT_FALSE(connection->query("SELECT 1", {}));
    EXPECT_TRUE(connection->query("SELECT 1", {}));
    const auto flushed = connection->flush();
    ASSERT_FALSE(flushed);
    EXPECT_EQ(flushed.error().code, ErrorCode::kUnavailable);
    EXPECT_TRUE(connection->flush());
}

TEST_F(RelaxedCommitTest, NotBehindAPooler) {
    const test::PgBouncer pooler(server_);
    const auto connection = connect(pooler.url(own_.name()));
    EXPECT_FALSE(insert(*connection));
}

}  // namespace
}  // namespace instep
