#include "tests/support/postgres_server.hpp"

#include "tests/support/eventually.hpp"
#include "tests/support/pgbouncer.hpp"
#include "tests/support/postgres_database.hpp"

#include <gmock/gmock.h>
#include <libpq-fe.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

namespace instep::test {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

bool exists(pid_t process) { return ::kill(process, 0) == 0; }

TEST(PostgresServerTest, AnswersAQuery) {
    EXPECT_EQ(run_postgres(PostgresServer::shared().url(), "SELECT 1 + 1"), "2");
}

TEST(PostgresServerTest, KeepsWhatWasCommittedBeforeAnImmediateStop) {
    PostgresServer server;
    const PostgresDatabase database(server);
    run_postgres(database.url(), "CREATE TABLE item (id int); INSERT INTO item VALUES (7)");
    server.stop_immediately();
    EXPECT_THROW(run_postgres(database.url(), "SELECT 1"), std::runtime_error);
    server.start();
    EXPECT_EQ(run_postgres(database.url(), "SELECT id FROM item"), "7");
    EXPECT_THAT(server.log(), HasSubstr("automatic recovery in progress"));
}

TEST(PostgresServerTest, StartsAgainAfterAStopInOrder) {
    PostgresServer server;
    server.stop_fast();
    server.start();
    EXPECT_EQ(run_postgres(server.url(), "SELECT 1"), "1");
    EXPECT_THAT(server.log(), Not(HasSubstr("automatic recovery in progress")));
}

TEST(PostgresServerTest, StandsBesideAnother) {
    const PostgresServer one;
    const PostgresServer other;
    run_postgres(one.url(), "CREATE TABLE item ()");
    EXPECT_EQ(run_postgres(other.url(), "SELECT to_regclass('item') IS NULL"), "t");
}

TEST(PostgresServerTest, TakesTheSettingsOfATest) {
    const PostgresServer server({.settings = {"wal_level = replica"}, .fsync = true});
    EXPECT_EQ(run_postgres(server.url(), "SHOW wal_level"), "replica");
    EXPECT_EQ(run_postgres(server.url(), "SHOW fsync"), "on");
    EXPECT_EQ(run_postgres(PostgresServer::shared().url(), "SHOW wal_level"), "logical");
}

TEST(PostgresServerTest, ShowsItsLogWhenItDoesNotStart) {
    EXPECT_THAT([] { const PostgresServer server({.settings = {"no_such_setting = 1"}}); },
                ThrowsMessage<std::runtime_error>(HasSubstr("no_such_setting")));
}

TEST(PostgresServerTest, OutlivesAForkOfItsProcess) {
    const PostgresServer& server = PostgresServer::shared();
    EXPECT_EXIT(std::exit(0), testing::ExitedWithCode(0), "");
    EXPECT_EQ(run_postgres(server.url(), "SELECT 1"), "1");
}

TEST(PostgresServerTest, LeavesNothingBehindWhenItsProcessIsKilled) {
    struct Traces {
        pid_t server = 0;
        std::array<char, 256> folder{};
    };
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        const PostgresServer server;
        Traces traces{.server = server.id()};
        server.folder().copy(traces.folder.data(), traces.folder.size() - 1);
        ::_exit(::write(ends[1], &traces, sizeof(traces)) > 0 ? ::pause() : 1);
    }
    ::close(ends[1]);
    Traces traces;
    const ssize_t got = ::read(ends[0], &traces, sizeof(traces));
    ::close(ends[0]);
    ASSERT_EQ(got, static_cast<ssize_t>(sizeof(traces)));
    const std::string folder = traces.folder.data();
    EXPECT_TRUE(exists(traces.server));
    EXPECT_TRUE(std::filesystem::exists(folder));

    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_TRUE(eventually([&] { return !exists(traces.server); }));
    EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(folder); }));
}

TEST(PostgresDatabaseTest, IsDroppedAtItsEndEvenWhileASlotIsRead) {
    PostgresServer& server = PostgresServer::shared();
    auto database = std::make_unique<PostgresDatabase>(server, PostgresDatabase::Options{"read"});
    run_postgres(database->url(), "SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
    const std::unique_ptr<PGconn, decltype(&PQfinish)> reader(
        PQconnectdb((database->url() + "?replication=database").c_str()), &PQfinish);
    const std::unique_ptr<PGresult, decltype(&PQclear)> started(
        PQexec(reader.get(),
               "START_REPLICATION SLOT s LOGICAL 0/0 "
               "(proto_version '1', publication_names 'p')"),
        &PQclear);
    ASSERT_EQ(PQresultStatus(started.get()), PGRES_COPY_BOTH) << PQerrorMessage(reader.get());
    database.reset();
    EXPECT_EQ(run_postgres(server.url(), "SELECT count(*) FROM pg_database WHERE datname = 'read'"),
              "0");
}

TEST(PostgresDatabaseTest, HasTheNameAndTheOrderOfTextAskedFor) {
    PostgresServer& server = PostgresServer::shared();
    const PostgresDatabase bytes(server, {.name = "bytes", .icu_locale = ""});
    EXPECT_EQ(run_postgres(server.url("bytes"), "SELECT 'B' < 'a'"), "t");
    EXPECT_EQ(run_postgres(PostgresDatabase().url(), "SELECT 'B' < 'a'"), "f");
}

TEST(PgBouncerTest, AnswersForEveryDatabaseOfTheServer) {
    const PostgresDatabase database;
    const PgBouncer pgbouncer(PostgresServer::shared());
    EXPECT_EQ(run_postgres(pgbouncer.url(database.name()), "SELECT current_database()"),
              database.name());
}

}  // namespace
}  // namespace instep::test
