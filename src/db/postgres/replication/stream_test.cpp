#include "instep/db/postgres/replication/stream.hpp"

#include "tests/support/postgres_session.hpp"
#include "tests/support/postgres_stream.hpp"

#include <gmock/gmock.h>

namespace instep {

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::PostgresDatabase;
using test::PostgresSession;
using test::PostgresStream;
using test::run_postgres;
using ::testing::ElementsAre;

TEST_F(PostgresStream, TellsEveryKindOfChange) {
    run("CREATE TYPE mood AS ENUM ('sad', 'glad');"
        "CREATE TABLE item (id int PRIMARY KEY, mood mood, big text);"
        "ALTER TABLE item ALTER big SET STORAGE EXTERNAL;"
        "CREATE TABLE whole (a int, b text);"
        "ALTER TABLE whole REPLICA IDENTITY FULL");
    given_slot();
    const auto stream = start();
    run("BEGIN;"
        "INSERT INTO item VALUES (1, 'glad', repeat('x', 3000));"
        "UPDATE item SET mood = NULL;"
        "UPDATE item SET id = 2;"
        "UPDATE item SET big = 'small';"
        "DELETE FROM item;"
        "INSERT INTO whole VALUES (1, '');"
        "UPDATE whole SET b = 'é';"
        "DELETE FROM whole;"
        "TRUNCATE item, whole RESTART IDENTITY CASCADE;"
        "COMMIT");
    EXPECT_THAT(
        receive_commits(*stream),
        ElementsAre("begin", "type public.mood", "relation public.item id* mood big",
                    "insert item 1 glad LONG", "update item 1 NULL UNCHANGED",
                    "update item key( 1 NULL NULL ) 2 NULL UNCHANGED", "update item 2 NULL small",
                    "delete item key( 2 NULL NULL )", "relation public.whole a* b*",
                    "insert whole 1 ", "update whole old( 1  ) 1 é", "delete whole old( 1 é )",
                    "type public.mood", "relation public.item id* mood big",
                    "relation public.whole a* b*", "truncate item whole cascade restart",
                    "commit"));
}

TEST_F(PostgresStream, HoldsTheOldValueThatAFullRowDidNotChange) {
    given_table("id int, n int, big text");
    run("ALTER TABLE item ALTER big SET STORAGE EXTERNAL;"
        "ALTER TABLE item REPLICA IDENTITY FULL;"
        "INSERT INTO item VALUES (1, 1, repeat('x', 3000))");
    given_slot();
    const auto stream = start();
    run("UPDATE item SET n = 2");
    EXPECT_THAT(receive_commits(*stream),
                ElementsAre("begin", "relation public.item id* n* big*",
                            "update item old( 1 1 LONG ) 1 2 UNCHANGED", "commit"));
}

TEST_F(PostgresStream, DescribesATableAgainWhenItHasChanged) {
    given_table("id int PRIMARY KEY");
    given_slot();
    const auto stream = start();
    run("INSERT INTO item VALUES (1)");
    run("ALTER TABLE item ADD name text");
    run("INSERT INTO item VALUES (2, 'two')");
    EXPECT_THAT(receive_commits(*stream),
                ElementsAre("begin", "relation public.item id*", "insert item 1", "commit"));
    std::vector<std::string> messages;
    while (messages.empty() || !messages.back().starts_with("insert")) {
        messages.push_back(std::visit(transcript_, receive(*stream).value()));
    }
    // Before PostgreSQL 15 the ALTER is an empty transaction.
    ASSERT_GE(messages.size(), 2U);
    EXPECT_EQ(messages[messages.size() - 2], "relation public.item id* name");
    EXPECT_EQ(messages.back(), "insert item 2 two");
}

TEST_F(PostgresStream, NamesTheServerThatATransactionCameFrom) {
    given_table("id int PRIMARY KEY");
    given_slot();
    const auto stream = start();
    run("SELECT pg_replication_origin_create('" + database_.name() + "')");
    PostgresSession session(database_.url());
    session.run("SELECT pg_replication_origin_session_setup('" + database_.name() + "')");
    session.run("BEGIN");
    session.run("SELECT pg_replication_origin_xact_setup('0/1', now())");
    session.run("INSERT INTO item VALUES (1)");
    session.run("COMMIT");
    EXPECT_THAT(receive_commits(*stream),
                ElementsAre("begin", "origin " + database_.name(), "relation public.item id*",
                            "insert item 1", "commit"));
}

TEST_F(PostgresStream, DeliversLogicalMessages) {
    given_table("id int PRIMARY KEY");
    given_slot();
    const auto stream = start();
    EXPECT_TRUE(stream->delivers_logical_messages());
    run("BEGIN; SELECT pg_logical_emit_message(true, 'lost', ''); ROLLBACK");
    run("BEGIN; SELECT pg_logical_emit_message(false, 'beat', 'now'); ROLLBACK");
    run("BEGIN; SELECT pg_logical_emit_message(true, 'note', 'within'); COMMIT");
    EXPECT_THAT(receive_commits(*stream),
                ElementsAre("lone message beat=now", "begin", "message note=within", "commit"));
}

TEST_F(PostgresStream, LeavesLogicalMessagesOut) {
    given_table("id int PRIMARY KEY");
    given_slot();
    options_.messages = LogicalMessages::kIgnored;
    const auto stream = start();
    EXPECT_FALSE(stream->delivers_logical_messages());
    run("SELECT pg_logical_emit_message(false, 'beat', 'now')");
    run("INSERT INTO item VALUES (1)");
    EXPECT_THAT(receive_commits(*stream),
                ElementsAre("begin", "relation public.item id*", "insert item 1", "commit"));
}

TEST_F(PostgresStream, WritesValuesTheSameUnderEverySetting) {
    run("ALTER DATABASE " + database_.name() +
        " SET datestyle = 'German, DMY';"
        "ALTER DATABASE " +
        database_.name() +
        " SET timezone = 'Asia/Tokyo';"
        "ALTER DATABASE " +
        database_.name() +
        " SET intervalstyle = 'iso_8601';"
        "ALTER DATABASE " +
        database_.name() +
        " SET bytea_output = 'escape';"
        "ALTER DATABASE " +
        database_.name() + " SET extra_float_digits = 0");
    given_table(
        "day date, at timestamptz, span interval, bytes bytea, real double precision,"
        "relation regclass");
    run("ALTER TABLE item REPLICA IDENTITY FULL");
    given_slot();
    const auto stream = start();
    run("SET timezone = 'UTC'; INSERT INTO item VALUES ('2026-03-01', '2026-03-01 09:30:00',"
        "'1 day', '\\x00ff', 0.1::float8 + 0.2::float8, 'item')");
    EXPECT_THAT(receive_commits(*stream)[2],
                "insert item 2026-03-01 2026-03-01 09:30:00+00 1 day \\x00ff "
                "0.30000000000000004 public.item");
}

TEST_F(PostgresStream, SendsBinaryValuesIfAsked) {
    given_table("id int PRIMARY KEY");
    given_slot();
    options_.format = FieldFormat::kBinary;
    const auto stream = start();
    run("INSERT INTO item VALUES (7)");
    for (;;) {
        const auto message = receive(*stream);
        ASSERT_TRUE(message.has_value());
        if (const auto* insert = std::get_if<pgoutput::Insert>(&*message)) {
            EXPECT_EQ(insert->row[0].kind, pgoutput::FieldKind::kBinary);
            EXPECT_EQ(insert->row[0].bytes, std::string_view("\0\0\0\7", 4));
            break;
        }
    }
}

TEST_F(PostgresStream, FollowsTheOrderOfCommits) {
    given_table("id int PRIMARY KEY");
    given_slot();
    const auto stream = start();
    PostgresSession early(database_.url());
    PostgresSession late(database_.url());
    early.run("BEGIN");
    early.run("INSERT INTO item VALUES (1)");
    late.run("BEGIN");
    late.run("INSERT INTO item VALUES (2)");
    early.run("INSERT INTO item VALUES (3)");
    late.run("COMMIT");
    early.run("COMMIT");
    EXPECT_THAT(receive_commits(*stream, 2),
                ElementsAre("begin", "relation public.item id*", "insert item 2", "commit", "begin",
                            "insert item 1", "insert item 3", "commit"));
}

TEST_F(PostgresStream, BeginsAndEndsATransactionAtTheSamePosition) {
    given_table("id int PRIMARY KEY");
    given_slot();
    const auto stream = start();
    run("INSERT INTO item VALUES (1)");
    const auto begin = std::get<pgoutput::Begin>(receive(*stream).value());
    receive_commits(*stream);
    EXPECT_EQ(begin.final_lsn, last_commit_.commit_lsn);
    EXPECT_EQ(begin.commit_time, last_commit_.commit_time);
    EXPECT_LT(last_commit_.commit_lsn, last_commit_.end_lsn);
    EXPECT_LT(clock_.now() - begin.commit_time, 1min);
}

TEST_F(PostgresStream, RepeatsAWholeTransactionAfterACrashInItsMiddle) {
    given_table("id int PRIMARY KEY");
    given_slot();
    run("INSERT INTO item VALUES (0)");
    run("INSERT INTO item SELECT generate_series(1, 5)");
    auto stream = start();
    receive_commits(*stream);
    stream->confirm(last_commit_.end_lsn).value();
    const auto begin = std::get<pgoutput::Begin>(receive(*stream).value());
    EXPECT_EQ(std::visit(transcript_, receive(*stream).value()), "insert item 1");
    EXPECT_EQ(std::visit(transcript_, receive(*stream).value()), "insert item 2");
    stream->send_status().value();
    const Lsn stored = stream->confirmed();

    for (int round = 0; round < 2; ++round) {
        stream.reset();
        stream = start(stored);
        EXPECT_THAT(
            receive_commits(*stream),
            ElementsAre("begin", "relation public.item id*", "insert item 1", "insert item 2",
                        "insert item 3", "insert item 4", "insert item 5", "commit"));
        EXPECT_EQ(last_commit_.commit_lsn, begin.final_lsn);
    }
}

TEST_F(PostgresStream, StartsBehindAPositionThatTheSlotDoesNotKnowYet) {
    given_table("id int PRIMARY KEY");
    given_slot();
    run("INSERT INTO item VALUES (1)");
    run("INSERT INTO item VALUES (2)");
    receive_commits(*start());
    const Lsn stored = last_commit_.end_lsn;
    const auto stream = start(stored);
    EXPECT_EQ(stream->received_end(), stored);
    EXPECT_THAT(receive_commits(*stream),
                ElementsAre("begin", "relation public.item id*", "insert item 2", "commit"));
}

TEST_F(PostgresStream, ReportsOnlyWhatWasConfirmed) {
    given_table("id int PRIMARY KEY");
    given_slot();
    const Lsn before = slot_position();
    const auto stream = start();
    run("INSERT INTO item VALUES (1)");
    run("INSERT INTO item VALUES (2)");
    receive_commits(*stream);
    const Lsn first = last_commit_.end_lsn;
    receive_commits(*stream);
    const int reports = 5;
    for (int i = 0; i < reports; ++i) {
        EXPECT_EQ(stream->receive(options_.status_interval).value(), std::nullopt);
    }
    EXPECT_EQ(slot_position(), before);

    stream->confirm(first).value();
    stream->send_status().value();
    EXPECT_TRUE(eventually([&] { return slot_position() == first; }));

    // Without send_status(), receive() reports it.
    stream->confirm(last_commit_.end_lsn).value();
    EXPECT_TRUE(receive_until(*stream, [&] { return slot_position() == last_commit_.end_lsn; }));

    stream->confirm(first).value();
    EXPECT_EQ(stream->confirmed(), last_commit_.end_lsn);
}

TEST_F(PostgresStream, RefusesToConfirmWhatWasNotReceived) {
    given_table("id int PRIMARY KEY");
    given_slot();
    const auto stream = start();
    run("INSERT INTO item VALUES (1)");
    const auto begin = std::get<pgoutput::Begin>(receive(*stream).value());
    EXPECT_LT(stream->received_end(), begin.final_lsn);
    const auto confirmed = stream->confirm(begin.final_lsn);
    ASSERT_FALSE(confirmed.has_value());
    EXPECT_EQ(confirmed.error().code, ErrorCode::kInvalidArgument);
    EXPECT_LT(stream->confirmed(), begin.final_lsn);
    receive_commits(*stream);
    EXPECT_TRUE(stream->confirm(begin.final_lsn).has_value());
}

TEST_F(PostgresStream, MovesOnWhileOnlyOthersWrite) {
    given_slot();
    const auto stream = start();
    const PostgresDatabase other;
    run_postgres(other.url(), "CREATE TABLE noise AS SELECT generate_series(1, 1000)");
    const Lsn written = parse_lsn(run("SELECT pg_current_wal_lsn()")).value();
    EXPECT_TRUE(receive_until(*stream, [&] { return stream->received_end() >= written; }));
    stream->confirm(stream->received_end()).value();
    stream->send_status().value();
    EXPECT_TRUE(eventually([&] { return slot_position() >= written; }));
}

TEST_F(PostgresStream, MovesOnWithALoneMessage) {
    given_slot();
    const auto stream = start();
    const Lsn beat = parse_lsn(run("SELECT pg_logical_emit_message(false, 'beat', '')")).value();
    const auto message = std::get<pgoutput::LogicalMessage>(receive(*stream).value());
    EXPECT_LE(message.lsn, beat);
    EXPECT_GE(stream->received_end(), message.lsn);
}

TEST_F(PostgresStream, TakesARowOfManyMegabytes) {
    given_table("id int PRIMARY KEY, big text");
    given_slot();
    const auto stream = start();
    run("INSERT INTO item VALUES (1, repeat('x', 20000000))");
    for (;;) {
        const auto message = receive(*stream);
        ASSERT_TRUE(message.has_value());
        if (const auto* insert = std::get_if<pgoutput::Insert>(&*message)) {
            EXPECT_EQ(insert->row[1].bytes.size(), 20'000'000U);
            EXPECT_EQ(insert->row[1].bytes.find_first_not_of('x'), std::string_view::npos);
            break;
        }
    }
}

}  // namespace

}  // namespace instep
