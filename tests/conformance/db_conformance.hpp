// What every database must do, as one suite that each backend runs:
//
//     INSTANTIATE_TEST_SUITE_P(Postgres, DbConformance,
//                              ::testing::Values(DatabaseCase{"postgres", &make_postgres}));
//
// in an executable that compiles db_*conformance*.cpp too.
#pragma once

#include "instep/db/database.hpp"
#include "instep/db/dialect.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace instep::test {

/// An empty database of one test's own.
class DatabaseBackend {
public:
    virtual ~DatabaseBackend() = default;

    virtual Database& database() = 0;

    /// Text may hold a zero byte.
    [[nodiscard]] virtual bool text_holds_zero() const = 0;

    /// A real column tells -0.0 from 0.0.
    [[nodiscard]] virtual bool keeps_negative_zero() const = 0;
};

struct DatabaseCase {
    std::string name;

    /// A server that is not there is a failure.
    std::unique_ptr<DatabaseBackend> (*make)();
};

void PrintTo(const DatabaseCase& database, std::ostream* out);

class DbConformance : public ::testing::TestWithParam<DatabaseCase> {
protected:
    void SetUp() override;

    DatabaseBackend& backend() { return *backend_; }

    /// The connection that most tests use, and another one.
    Connection& connection() { return *connection_; }
    std::unique_ptr<Connection> connect(ConnectOptions options = {});

    /// Runs a script on connection(); anything but success fails the test.
    void given(std::string_view script);

    /// A table "item" with the columns id (key) and name, and `rows` rows numbered from 1.
    void given_items(std::int64_t rows);

    static Transaction begin(Connection& connection, TransactionMode mode);

    /// Writes one item; the outcome is the test's business.
    static Result<std::int64_t> insert_item(Transaction& transaction, std::int64_t id,
                                            std::string_view name = "new");

    /// The ids of all items, in order, as a transaction or a connection sees them.
    static std::vector<std::int64_t> items(Transaction& transaction);
    static std::vector<std::int64_t> items(Connection& connection);

    /// The integers of a query's first column.
    static std::vector<std::int64_t> integers(Transaction& transaction, std::string_view sql);

    [[nodiscard]] std::string quote(std::string_view identifier) {
        return connection().dialect().quote(identifier);
    }

private:
    std::unique_ptr<DatabaseBackend> backend_;
    std::unique_ptr<Connection> connection_;
};

/// For databases in which a read transaction can be open while another connection commits.
class DbSnapshotConformance : public DbConformance {};

inline constexpr std::string_view kInsertItem = "INSERT INTO item (id, name) VALUES ($1, $2)";

}  // namespace instep::test
