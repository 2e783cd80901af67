// Appending to PostgreSQL at the same time, and by those who have few rights.
#include "instep/log/group_appender.hpp"
#include "instep/log/log.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/log_reading.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/postgres_session.hpp"
#include "tests/support/sync_system.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <barrier>
#include <set>
#include <stdexcept>
#include <thread>

namespace instep {
namespace {

using test::expect_value;
using test::Home;
using test::LogReading;
using test::PostgresDatabase;
using test::PostgresSession;
using test::SyncSystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kThreads = 8;

class AppendPostgresTest : public testing::Test {
protected:
    AppendPostgresTest() {
        system.owner_sql("CREATE TABLE rows (id integer PRIMARY KEY, v text)");
        system.publish({{"rows", "row", {"id"}, {"id", "v"}, {}}});
    }

    static NewEvent event(std::string key) {
        NewEvent made;
        made.topic = "t";
        made.key = std::move(key);
        made.type = "x.done";
        made.data = "1";
        return made;
    }

    static Result<Appended> append_one(Connection& connection, const NewEvent& event,
                                       ExpectedVersion expected = ExpectedVersion::any()) {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(connection, TransactionMode::kWrite));
        INSTEP_TRY_ASSIGN(const auto appended, append(transaction, std::span(&event, 1), expected));
        INSTEP_TRY(transaction.commit());
        return appended.front();
    }

    /// Runs `work` in many threads that begin at once, each with a connection of its own.
    void at_once(const std::function<void(Connection&, int)>& work) {
        std::barrier ready(kThreads);
        std::vector<std::jthread> threads;
        for (int i = 0; i < kThreads; ++i) {
            threads.emplace_back([&, i] {
                auto connection = expect_value(database.connect());
                ready.arrive_and_wait();
                work(*connection, i);
            });
        }
    }

    /// A role of its own that may use append() and the table, and nothing else of ours.
    std::string login_of_application() {
        const std::string role = home.name() + "_app";
        admin.run(fmt::format(
            "DROP ROLE IF EXISTS {0}; CREATE ROLE {0} LOGIN; GRANT USAGE ON SCHEMA instep TO {0}; "
            "GRANT EXECUTE ON FUNCTION instep.append TO {0}; GRANT ALL ON rows TO {0}; "
            "GRANT CREATE ON DATABASE {1} TO {0}",
            role, home.name()));
        std::string url = home.url();
        url.replace(url.find("tester"), 6, role);
        return url;
    }

    SyncSystem system{{.owner = Home::kPostgres}};
    const PostgresDatabase& home = *system.servers.front();
    Database& database = *system.owner_database;
    PostgresSession admin{home.url()};
};

TEST_F(AppendPostgresTest, OfManyWhoExpectTheSameVersionOneGoesThrough) {
    std::atomic<int> conflicts = 0;
    at_once([&](Connection& connection, int) {
        NewEvent joined = event("k");
        joined.stream = "s";
        std::uint64_t version = 0;
        for (int i = 0; i < 20; ++i) {
            const auto expected =
                version == 0 ? ExpectedVersion::none() : ExpectedVersion::exactly(version);
            const auto appended = append_one(connection, joined, expected);
            if (appended) {
                EXPECT_EQ(appended->stream_version, version + 1);
                version = appended->stream_version;
            } else {
                EXPECT_EQ(appended.error().code, ErrorCode::kConflict) << appended.error().message;
                ++conflicts;
                ++version;
            }
        }
    });
    EXPECT_GT(conflicts, 0);
    EXPECT_EQ(admin.run("SELECT count(*) = max(stream_version) AND count(*) = 20 FROM instep.log "
                        "WHERE stream = 's'"),
              "t");
    EXPECT_EQ(admin.run("SELECT count(*) FROM (SELECT stream_version - lag(stream_version) OVER "
                        "(ORDER BY seq) AS step FROM instep.log WHERE stream = 's') s "
                        "WHERE step <> 1"),
              "0");
}

TEST_F(AppendPostgresTest, AnIdThatManyAppendAtOnceIsThereOnce) {
    std::atomic<int> repeats = 0;
    std::mutex mutex;
    std::set<std::uint64_t> numbers;
    at_once([&](Connection& connection, int) {
        for (int i = 0; i < 10; ++i) {
            NewEvent identified = event("k");
            identified.id = fmt::format("id-{}", i);
            const auto appended = append_one(connection, identified);
            ASSERT_TRUE(appended) << appended.error().message;
            repeats += appended->repeated ? 1 : 0;
            const std::scoped_lock lock(mutex);
            numbers.insert(appended->seq);
        }
    });
    EXPECT_EQ(admin.run("SELECT count(*) FROM instep.log WHERE id IS NOT NULL"), "10");
    EXPECT_EQ(numbers.size(), 10U);
    EXPECT_EQ(repeats, 10 * (kThreads - 1));
}

TEST_F(AppendPostgresTest, AnIdWhoseFirstAppendIsUndoneIsAppendedByTheNext) {
    PostgresSession first(home.url());
    first.run("BEGIN; SELECT instep.append('t', 'k', 'x.done', '1', 'id')");
    std::jthread next([&] {
        auto connection = expect_value(database.connect());
        NewEvent identified = event("k");
        identified.id = "id";
        const auto appended = append_one(*connection, identified);
        ASSERT_TRUE(appended) << appended.error().message;
        EXPECT_FALSE(appended->repeated);
    });
    EXPECT_TRUE(test::eventually([&] {
        return admin.run(
                   "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                   "AND datname = current_database()") == "1";
    }));
    first.run("ROLLBACK");
    next.join();
    EXPECT_EQ(admin.run("SELECT count(*) FROM instep.log"), "1");
}

TEST_F(AppendPostgresTest, AGroupAppenderServesManyThreads) {
    const auto appender = expect_value(GroupAppender::open(database));
    at_once([&](Connection&, int thread) {
        for (int i = 0; i < 25; ++i) {
            NewEvent joined = event("k");
            joined.stream = fmt::format("s{}", thread % 2);
            joined.id = fmt::format("id-{}-{}", thread, i);
            const auto appended = appender->append(std::span(&joined, 1));
            ASSERT_TRUE(appended) << appended.error().message;
        }
    });
    EXPECT_EQ(admin.run("SELECT count(*) FROM instep.log"), "200");
    EXPECT_EQ(admin.run("SELECT max(stream_version) FROM instep.log WHERE stream = 's1'"), "100");
    LogReading reading(database);
    EXPECT_EQ(reading.take_all().size(), 200U);
}

TEST_F(AppendPostgresTest, WhoMayOnlyCallItAppends) {
    PostgresSession application(login_of_application());
    application.run(
        "BEGIN; SET LOCAL instep.correlation_id = 'c-1'; "
        "SELECT instep.append('t', 'k', 'x.done', '1', 'id', 's', 0); COMMIT");
    application.run("INSERT INTO rows VALUES (1, 'one')");

    LogReading reading(database);
    const LogBatch batch = reading.read();
    ASSERT_EQ(batch.events.size(), 2U);
    EXPECT_EQ(batch.events[0].event.correlation_id, "c-1");
    EXPECT_EQ(batch.events[1].event.data, R"({"id":1,"v":"one"})");
    for (const char* forbidden :
         {"INSERT INTO instep.log (topic, key, type, data) VALUES ('t', 'k', 'x', '1')",
          "SELECT * FROM instep.log", "UPDATE instep.stream SET version = 9",
          "SELECT nextval('instep.log_seq')", "DELETE FROM instep.cursor"}) {
        EXPECT_THAT([&] { application.run(forbidden); },
                    testing::ThrowsMessage<std::runtime_error>(HasSubstr("permission denied")))
            << forbidden;
    }
}

TEST_F(AppendPostgresTest, NobodyElseMayFeedCaptureFromATableOfTheirOwn) {
    PostgresSession application(login_of_application());
    application.run("CREATE SCHEMA own; CREATE TABLE own.rows (id integer, v text)");
    EXPECT_THAT(
        [&] {
            application.run(
                "CREATE TRIGGER forged AFTER INSERT ON own.rows FOR EACH ROW EXECUTE "
                "FUNCTION instep.capture_row_insert()");
        },
        testing::ThrowsMessage<std::runtime_error>(HasSubstr("permission denied")));
}

TEST_F(AppendPostgresTest, AHostileSearchPathReachesNothing) {
    PostgresSession hostile(login_of_application());
    hostile.run(R"(CREATE SCHEMA evil;
CREATE FUNCTION evil.taken() RETURNS integer LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'taken over by %', current_user; END $$;
CREATE FUNCTION evil.pg_current_xact_id() RETURNS xid8 LANGUAGE sql AS
    $$ SELECT evil.taken()::text::xid8 $$;
CREATE FUNCTION evil.nextval(regclass) RETURNS bigint LANGUAGE sql AS $$ SELECT evil.taken() $$;
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
    $$ SELECT to_timestamp(evil.taken()) $$;
CREATE FUNCTION evil.octet_length(text) RETURNS integer LANGUAGE sql AS $$ SELECT evil.taken() $$;
CREATE FUNCTION evil.concat(VARIADIC text[]) RETURNS text LANGUAGE sql AS
    $$ SELECT evil.taken()::text $$;
CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE sql AS
    $$ SELECT evil.taken()::text $$;
CREATE FUNCTION evil.to_json(integer) RETURNS json LANGUAGE sql AS
    $$ SELECT evil.taken()::text::json $$;
CREATE FUNCTION evil.to_json(text) RETURNS json LANGUAGE sql AS
    $$ SELECT evil.taken()::text::json $$;
CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE sql AS
    $$ SELECT evil.taken() = 1 $$;
CREATE FUNCTION evil.more(integer, integer) RETURNS boolean LANGUAGE sql AS
    $$ SELECT evil.taken() OPERATOR(pg_catalog.=) 1 $$;
CREATE FUNCTION evil.plus(bigint, integer) RETURNS bigint LANGUAGE sql AS
    $$ SELECT evil.taken() $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
CREATE OPERATOR evil.> (LEFTARG = integer, RIGHTARG = integer, FUNCTION = evil.more);
CREATE OPERATOR evil.+ (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = evil.plus);
CREATE TYPE evil.text AS ENUM ('x');
CREATE TABLE evil.log (topic integer);
CREATE TABLE evil.log_passing (topic integer);
CREATE TEMP TABLE log_passing (topic integer);
CREATE TEMP TABLE event_id (topic integer);
SET search_path = evil, pg_temp, pg_catalog, public)");
    hostile.run("SELECT instep.append('t'::pg_catalog.text, 'k', 'x.done', '1', 'id', 's', 0)");
    hostile.run("INSERT INTO public.rows VALUES (1, 'one')");
    hostile.run("UPDATE public.rows SET v = 'two'");
    hostile.run("UPDATE public.rows SET id = 2");
    hostile.run("DELETE FROM public.rows");
    hostile.run("INSERT INTO public.rows VALUES (3, 'three'); TRUNCATE public.rows");

    LogReading reading(database);
    EXPECT_THAT(reading.take_all(),
                ElementsAre("k=1", R"(1={"id":1,"v":"one"})", R"(1={"id":1,"v":"two"})",
                            R"(1={"id":1})", R"(2={"id":2,"v":"two"})", R"(2={"id":2})",
                            R"(3={"id":3,"v":"three"})", R"(3={"id":3})"));
}

}  // namespace
}  // namespace instep
