#include "tests/support/postgres_database.hpp"

#include "instep/base/clock.hpp"
#include "instep/db/postgres/database.hpp"
#include "tests/conformance/db_conformance.hpp"
#include "tests/support/pgbouncer.hpp"
#include "tests/support/postgres_server.hpp"

namespace instep::test {

namespace {

class ServerBackend final : public DatabaseBackend {
public:
    Database& database() override { return *database_; }
    [[nodiscard]] bool text_holds_zero() const override { return false; }
    [[nodiscard]] bool keeps_negative_zero() const override { return true; }

private:
    SystemClock clock_;
    PostgresDatabase own_;
    std::unique_ptr<Database> database_ = open_postgres(own_.url(), clock_).value();
};

/// Through a pooler that lends a server process for one transaction at a time.
class PooledBackend final : public DatabaseBackend {
public:
    Database& database() override { return *database_; }
    [[nodiscard]] bool text_holds_zero() const override { return false; }
    [[nodiscard]] bool keeps_negative_zero() const override { return true; }

private:
    SystemClock clock_;
    PostgresDatabase own_;
    PgBouncer pooler_{PostgresServer::shared()};
    std::unique_ptr<Database> database_ = open_postgres(pooler_.url(own_.name()), clock_).value();
};

template <class Backend>
std::unique_ptr<DatabaseBackend> make() {
    return std::make_unique<Backend>();
}

const auto kCases = ::testing::Values(DatabaseCase{"server", &make<ServerBackend>},
                                      DatabaseCase{"pooled", &make<PooledBackend>});

}  // namespace

INSTANTIATE_TEST_SUITE_P(Postgres, DbConformance, kCases,
                         [](const auto& database) { return database.param.name; });

INSTANTIATE_TEST_SUITE_P(Postgres, DbSnapshotConformance, kCases,
                         [](const auto& database) { return database.param.name; });

}  // namespace instep::test
