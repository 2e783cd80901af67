#pragma once

#include "tests/support/postgres_session.hpp"
#include "tests/support/sync_system.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace instep::test {

/// An owner on PostgreSQL that publishes whole tables, each followed by a replica where the
/// parameter says. Everything in between is there to see that both hold the same.
class PostgresOwnerTest : public testing::TestWithParam<Home> {
protected:
    explicit PostgresOwnerTest(PostgresServer& server = PostgresServer::shared());

    /// Any error of the system fails the test.
    void TearDown() override;

    /// Statements of an application, on a connection of its own with every setting that changes
    /// how values are written far from ours.
    std::string given(const std::string& statements) { return writer_.run(statements); }

    /// Publishes all columns of the table and makes a replica "copy" of it, which is filled.
    ReplicaSide& follow(const std::string& table, std::vector<std::string> key = {"id"},
                        const std::string& entity = "thing");

    /// Settles; then a verification finds nothing, and reading both tables neither.
    void expect_in_step();

    [[nodiscard]] bool on_postgres() const { return GetParam() == Home::kPostgres; }

    /// The first value of a query on the newest replica's database.
    [[nodiscard]] std::string copied(std::string_view query) const;

    [[nodiscard]] std::string owned(std::string_view query) const {
        return value_of(*system.owner, query);
    }

    SyncSystem system;

private:
    void expect_same_column(const ColumnDescription& column, const std::string& table,
                            ReplicaSide& side, const std::vector<std::string>& key);
    void expect_same_rows(ReplicaSide& side, const std::string& copied, const std::string& table,
                          const std::string& owned);

    struct Followed {
        PublishEntry entry;
        ReplicaSide* side;
    };
    std::vector<Followed> followed_;
    PostgresSession writer_;
};

}  // namespace instep::test
