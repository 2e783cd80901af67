// A database that was dumped and restored: transaction ids mean nothing any more, and still
// nothing is left out.
#include "instep/db/postgres/database.hpp"
#include "instep/db/schema.hpp"
#include "tests/support/log_reading.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/postgres_session.hpp"
#include "tests/support/process.hpp"

#include <gmock/gmock.h>

#include <ostream>

namespace instep {
namespace {

using test::expect_value;
using test::LogReading;
using test::PostgresDatabase;
using test::PostgresServer;
using test::PostgresSession;
using testing::ElementsAre;
using testing::IsEmpty;

/// Where the dump is restored.
struct Target {
    std::string name;
    bool own_server = false;

    /// Transaction ids that it has handed out before.
    int ids_used = 0;
};

void PrintTo(const Target& target, std::ostream* out) { *out << target.name; }

std::string event(std::string_view key) {
    return fmt::format("SELECT instep.append('t', '{}', 'x.done', '1')", key);
}

/// Ids are handed out, as in a server that has been in use.
void use_ids(const PostgresDatabase& home, int count) {
    test::run_postgres(home.url(), fmt::format("CREATE TABLE busy (n integer); "
                                               "DO $$ BEGIN FOR i IN 1..{} LOOP "
                                               "BEGIN INSERT INTO busy VALUES (i); EXCEPTION WHEN "
                                               "others THEN NULL; END; END LOOP; END $$; "
                                               "DROP TABLE busy",
                                               count));
}

class RestoredLogTest : public testing::TestWithParam<Target> {
protected:
    RestoredLogTest() {
        auto connection = expect_value(source_database->connect());
        expect_value(migrate(*connection, service_migrations(connection->dialect())));
        use_ids(source, 500);
        use_ids(target, GetParam().ids_used);
    }

    static void restore(const PostgresDatabase& from, const PostgresDatabase& to) {
        test::ProcessOptions options;
        options.arguments = {
            "-c", fmt::format("pg_dump {} | psql -qX -v ON_ERROR_STOP=1 {}", from.url(), to.url())};
        const test::Finished done = test::run_process("/bin/sh", options);
        ASSERT_EQ(done.exit, 0) << done.err;
    }

    LogIdentity identity(Database& database) {
        return expect_value(log_identity(*expect_value(database.connect())));
    }

    SystemClock clock;
    std::unique_ptr<PostgresServer> own_server =
        GetParam().own_server ? std::make_unique<PostgresServer>() : nullptr;
    PostgresServer& target_server = own_server == nullptr ? PostgresServer::shared() : *own_server;
    PostgresDatabase source;
    PostgresDatabase target{target_server};
    PostgresDatabase second_target{target_server};
    std::unique_ptr<Database> source_database = expect_value(open_postgres(source.url(), clock));
    std::unique_ptr<Database> target_database = expect_value(open_postgres(target.url(), clock));
    PostgresSession before{source.url()};
};

TEST_P(RestoredLogTest, WhatWasUnreadIsReadOnceUnderANewIncarnation) {
    LogReading reading(*source_database);
    before.run(event("read"));
    PostgresSession slow(source.url());
    slow.run("BEGIN; " + event("slow"));
    before.run(event("read too"));
    EXPECT_THAT(reading.take_all(), ElementsAre("read=1", "read too=1"));
    slow.run("COMMIT");
    before.run(event("unread"));
    restore(source, target);

    LogReading restored(*target_database);
    EXPECT_THAT(restored.take_all(), ElementsAre("slow=1", "unread=1"));
    EXPECT_NE(identity(*target_database).incarnation, identity(*source_database).incarnation);
    PostgresSession(target.url()).run(event("new"));
    EXPECT_THAT(restored.take_all(), ElementsAre("new=1"));
    EXPECT_THAT(LogReading(*target_database).take_all(), IsEmpty());
}

TEST_P(RestoredLogTest, WhatIsAppendedBeforeTheFirstReadingIsRead) {
    LogReading reading(*source_database);
    before.run(event("read"));
    EXPECT_THAT(reading.take_all(), ElementsAre("read=1"));
    restore(source, target);
    PostgresSession after(target.url());
    after.run("BEGIN; SAVEPOINT s; " + event("in a savepoint") + "; RELEASE s; COMMIT");
    after.run(event("plain"));

    EXPECT_THAT(LogReading(*target_database).take_all(),
                ElementsAre("in a savepoint=1", "plain=1"));
}

TEST_P(RestoredLogTest, ABatchThatWasHalfConfirmedIsReadFromItsBeginning) {
    LogReading reading(*source_database);
    for (const char* key : {"a", "b", "c"}) {
        before.run(event(key));
    }
    reading.confirm(reading.read(), 2);
    restore(source, target);

    EXPECT_THAT(LogReading(*target_database).take_all(), ElementsAre("a=1", "b=1", "c=1"));
}

TEST_P(RestoredLogTest, ARestoredLogIsRestoredAgain) {
    LogReading reading(*source_database);
    before.run(event("read"));
    EXPECT_THAT(reading.take_all(), ElementsAre("read=1"));
    before.run(event("unread"));
    restore(source, target);
    {
        LogReading restored(*target_database);
        EXPECT_THAT(restored.take_all(), ElementsAre("unread=1"));
        PostgresSession(target.url()).run(event("new"));
    }
    restore(target, second_target);

    const auto again = expect_value(open_postgres(second_target.url(), clock));
    EXPECT_THAT(LogReading(*again).take_all(), ElementsAre("new=1"));
}

TEST_P(RestoredLogTest, EveryPartitionReadsItsShare) {
    for (std::uint32_t i = 0; i < 3; ++i) {
        LogReading(*source_database, {{i, 3}}).take_all();
    }
    before.run(
        "SELECT count(instep.append('t', 'k' || n, 'x.done', '1')) "
        "FROM generate_series(1, 30) n");
    restore(source, target);

    std::size_t events = 0;
    for (std::uint32_t i = 0; i < 3; ++i) {
        events += LogReading(*target_database, {{i, 3}}).take_all().size();
    }
    EXPECT_EQ(events, 30U);
}

INSTANTIATE_TEST_SUITE_P(Into, RestoredLogTest,
                         testing::Values(Target{"TheSameServer"}, Target{"ANewServer", true},
                                         Target{"ABusierServer", true, 2000}),
                         [](const auto& into) { return into.param.name; });

}  // namespace
}  // namespace instep
