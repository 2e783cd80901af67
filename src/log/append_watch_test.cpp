#include "instep/log/append_watch.hpp"

#include "instep/log/log.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/log_reading.hpp"
#include "tests/support/postgres_session.hpp"
#include "tests/support/sync_system.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::expect_value;
using test::Home;
using test::kPatience;
using test::PostgresSession;
using test::SyncSystem;
using test::value_of;

constexpr std::string_view kSleepers =
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

constexpr auto kAppend = "SELECT instep.append('t', 'k', 'x.done', '1')";

/// Waits in a thread of its own, as long as it is not told.
class Sleeper {
public:
    explicit Sleeper(SyncSystem& system)
        : connection_(expect_value(system.owner_database->connect())),
          thread_([this](std::stop_token stop) {
              while (!stop.stop_requested()) {
                  if (watch_.wait(*connection_, stop, 10ms)) {
                      ++looks_;
                  }
              }
          }) {}

    /// Looked once more since it began to sleep, or was told.
    [[nodiscard]] int looks() const { return looks_; }

private:
    std::unique_ptr<Connection> connection_;
    AppendWatch watch_;
    std::atomic<int> looks_ = 0;
    std::jthread thread_;
};

class AppendWatchTest : public testing::Test {
protected:
    /// Locks of readers that sleep, seen from outside.
    [[nodiscard]] std::string sleepers() const { return value_of(*system.owner, kSleepers); }

    SyncSystem system{{.owner = Home::kPostgres}};
    PostgresSession session{system.servers.front()->url()};
};

TEST_F(AppendWatchTest, AReaderThatSleepsIsToldOfACommit) {
    const Sleeper sleeper(system);
    ASSERT_TRUE(test::eventually([&] { return sleeper.looks() == 1; }, kPatience));
    session.run("BEGIN");
    session.run(kAppend);
    EXPECT_EQ(sleeper.looks(), 1);
    session.run("COMMIT");
    EXPECT_TRUE(test::eventually([&] { return sleeper.looks() == 2; }, kPatience));
}

TEST_F(AppendWatchTest, AReaderThatSleepsIsToldOfACapturedChange) {
    system.owner_sql("CREATE TABLE rows (id integer PRIMARY KEY, v text)");
    system.publish({{"rows", "row", {"id"}, {"id", "v"}, {}}});
    const Sleeper sleeper(system);
    ASSERT_TRUE(test::eventually([&] { return sleeper.looks() == 1; }, kPatience));
    session.run("INSERT INTO rows VALUES (1, 'a')");
    EXPECT_TRUE(test::eventually([&] { return sleeper.looks() == 2; }, kPatience));
}

TEST_F(AppendWatchTest, NobodyFallsAsleepBeforeAnAppendThatMayNotTell) {
    session.run("BEGIN");
    session.run(kAppend);
    const auto connection = expect_value(system.owner_database->connect());
    AppendWatch watch;
    EXPECT_FALSE(watch.wait(*connection, {}, 0ms));
    EXPECT_EQ(sleepers(), "0");
    session.run("COMMIT");
    EXPECT_TRUE(watch.wait(*connection, {}, 0ms));
}

TEST_F(AppendWatchTest, AReaderThatIsAwakeIsNotTold) {
    const auto connection = expect_value(system.owner_database->connect());
    AppendWatch watch;
    ASSERT_TRUE(watch.wait(*connection, {}, 0ms));
    EXPECT_EQ(sleepers(), "1");
    EXPECT_TRUE(watch.stay_awake(*connection));
    EXPECT_EQ(sleepers(), "0");
    session.run(kAppend);
    EXPECT_FALSE(expect_value(connection->await_notification({}, 10ms)));
}

TEST_F(AppendWatchTest, AReaderThatForgotHoldsNothingTwice) {
    const auto connection = expect_value(system.owner_database->connect());
    AppendWatch watch;
    ASSERT_TRUE(watch.wait(*connection, {}, 0ms));
    watch.forget();
    ASSERT_TRUE(watch.wait(*connection, {}, 0ms));
    EXPECT_TRUE(watch.stay_awake(*connection));
    EXPECT_EQ(sleepers(), "0");
}

TEST_F(AppendWatchTest, AStopEndsTheWait) {
    Sleeper sleeper(system);
    ASSERT_TRUE(test::eventually([&] { return sleeper.looks() == 1; }, kPatience));
}

TEST_F(AppendWatchTest, ALostSessionIsReplaced) {
    const Sleeper sleeper(system);
    ASSERT_TRUE(test::eventually([&] { return sleeper.looks() == 1; }, kPatience));
    session.run(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
        "AND mode = 'ExclusiveLock' AND database = "
        "  (SELECT oid FROM pg_database WHERE datname = current_database())");
    EXPECT_TRUE(test::eventually([&] { return sleeper.looks() >= 2; }, kPatience));
    EXPECT_TRUE(test::eventually([&] { return sleepers() == "1"; }, kPatience));
}

TEST(AppendWatchPreparedTest, WhoeverPreparesTransactionsTellsNobody) {
    SyncSystem system{
        {.owner = Home::kPostgres, .server = &test::PostgresServer::with_prepared_transactions()}};
    const auto connection = expect_value(system.owner_database->connect());
    AppendWatch watch;
    EXPECT_FALSE(watch.wait(*connection, {}, 0ms));
    PostgresSession session(system.servers.front()->url());
    session.run("BEGIN");
    session.run(kAppend);
    session.run("PREPARE TRANSACTION 'append_watch_test'");
    session.run("ROLLBACK PREPARED 'append_watch_test'");
}

TEST(AppendWatchSqliteTest, TimePasses) {
    SyncSystem system;
    const auto connection = expect_value(system.owner_database->connect());
    AppendWatch watch;
    EXPECT_FALSE(watch.wait(*connection, {}, 1ms));
    EXPECT_TRUE(watch.stay_awake(*connection));
}

}  // namespace
}  // namespace instep
