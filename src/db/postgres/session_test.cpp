#include "session.hpp"

#include "instep/base/clock.hpp"
#include "instep/db/postgres/database.hpp"
#include "tests/support/pgbouncer.hpp"
#include "tests/support/postgres_database.hpp"

#include <gtest/gtest.h>

namespace instep::postgres {
namespace {

TEST(SessionTest, RefusesServersThatAreTooOld) {
    const auto old = check_server_version(120'022, "postgresql://h/d");
    ASSERT_FALSE(old);
    EXPECT_EQ(old.error(), (Error{ErrorCode::kSchemaMismatch,
                                  "postgresql://h/d is PostgreSQL 12; 13 or later is needed"}));
    const auto older = check_server_version(90'624, "postgresql://h/d");
    ASSERT_FALSE(older);
    EXPECT_EQ(older.error().message, "postgresql://h/d is PostgreSQL 9.6; 13 or later is needed");
    EXPECT_TRUE(check_server_version(130'000, "postgresql://h/d"));
}

TEST(SessionTest, NoticesAPoolerInBetween) {
    const test::PostgresDatabase database;
    const test::PgBouncer pooler(test::PostgresServer::shared());
    EXPECT_EQ(is_behind_pooler(pooler.url(database.name())), true);
    EXPECT_EQ(is_behind_pooler(database.url()), false);
}

TEST(SessionTest, GivesAStatementTheTimeThatTheUrlAllows) {
    const test::PostgresDatabase own;
    const SystemClock clock;
    const auto database =
        open_postgres(own.url() + "?options=-c%20statement_timeout%3D1000", clock).value();
    const auto connection = database->connect().value();
    EXPECT_EQ(connection->query("SELECT pg_sleep(60)", {}).error().code, ErrorCode::kTimeout);
    EXPECT_TRUE(connection->query("SELECT 1", {}));
}

}  // namespace
}  // namespace instep::postgres
