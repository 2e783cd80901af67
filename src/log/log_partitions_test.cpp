// The log's partitions: made before they are needed, dropped when everybody has read them, and
// never in a writer's way.
#include "instep/db/postgres/database.hpp"
#include "instep/db/schema.hpp"
#include "instep/log/log.hpp"
#include "instep/log/rewind.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/log_reading.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/postgres_session.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

namespace instep {
namespace {

using test::expect_value;
using test::LogReading;
using test::PostgresDatabase;
using test::PostgresSession;
using testing::ElementsAre;
using testing::SizeIs;

class LogPartitionsTest : public testing::Test {
protected:
    LogPartitionsTest() {
        expect_value(migrate(*connection, service_migrations(connection->dialect())));
        writer.run("SET lock_timeout = '20s'");
    }

    void given_next_number(int number) {
        writer.run(fmt::format("SELECT setval('instep.log_seq', {}, false)", number));
    }

    void append(PostgresSession& session, std::string_view key) {
        session.run(fmt::format("SELECT instep.append('t', '{}', 'x.done', '1')", key));
    }

    /// One event in the first partition and two in the next, all of them read.
    void given_partition_passed(LogReading& reading) {
        append(writer, "old");
        trim();
        given_next_number(1'000'001);
        append(writer, "new");
        reading.take_all();
        append(writer, "next");
        reading.take_all();
    }

    /// Everything that is there now is old.
    void trim() {
        auto transaction = expect_value(Transaction::begin(*connection, TransactionMode::kWrite));
        expect_value(trim_log(transaction, clock.now() + std::chrono::hours(1), 1000));
        expect_value(transaction.commit());
    }

    /// Where autovacuum is in a partition, upkeep leaves it to the next time.
    void trim_until_gone(std::string_view table) {
        EXPECT_TRUE(test::eventually([&] {
            trim();
            return !has(table);
        })) << table;
    }

    std::string partition_of(std::string_view key) {
        return writer.run(
            fmt::format("SELECT tableoid::regclass FROM instep.log WHERE key = '{}'", key));
    }

    bool has(std::string_view table) {
        return writer.run(fmt::format("SELECT to_regclass('instep.{}') IS NOT NULL", table)) == "t";
    }

    SystemClock clock;
    PostgresDatabase home;
    std::unique_ptr<Database> database = expect_value(open_postgres(home.url(), clock));
    std::unique_ptr<Connection> connection = expect_value(database->connect());
    PostgresSession writer{home.url()};
};

TEST_F(LogPartitionsTest, AreMadeAhead) {
    trim();
    given_next_number(1'500'000);
    append(writer, "first");
    trim();
    for (const int number : {1'999'999, 2'000'001, 3'400'000}) {
        given_next_number(number);
        append(writer, fmt::format("{}", number));
        EXPECT_NE(partition_of(fmt::format("{}", number)), "instep.log_passing_default") << number;
    }
}

TEST_F(LogPartitionsTest, AreDroppedOnceEverybodyHasReadThem) {
    LogReading one(*database, {.name = "one"});
    LogReading other(*database, {.name = "other"});
    append(writer, "old");
    trim();
    given_next_number(1'000'001);
    append(writer, "new");
    EXPECT_THAT(one.take_all(), SizeIs(2));
    trim();
    EXPECT_TRUE(has("log_passing_1"));
    EXPECT_THAT(other.take_all(), SizeIs(2));
    append(writer, "next");
    one.take_all();
    other.take_all();
    trim_until_gone("log_passing_1");
    EXPECT_TRUE(has("log_passing_1000001"));
    append(writer, "later");
    EXPECT_THAT(one.take_all(), ElementsAre("later=1"));
}

TEST_F(LogPartitionsTest, StayWhileAReaderThatWasTakenBackHasToReadThem) {
    LogReading reading(*database, {.name = "one"});
    given_partition_passed(reading);
    auto transaction = expect_value(Transaction::begin(*connection, TransactionMode::kWrite));
    EXPECT_FALSE(expect_value(log_kept(*connection, "t")).is_trimmed);
    expect_value(rewind_reader(transaction, "one", 0));
    expect_value(transaction.commit());
    trim();
    EXPECT_TRUE(has("log_passing_1"));
    LogReading again(*database, {.name = "one"});
    EXPECT_THAT(again.take_all(), SizeIs(3));
    append(writer, "last");
    again.take_all();
    trim_until_gone("log_passing_1");
    const LogKept kept = expect_value(log_kept(*connection, "t"));
    EXPECT_TRUE(kept.is_trimmed);
    EXPECT_EQ(kept.oldest_seq, 1'000'001U);
}

TEST_F(LogPartitionsTest, AreNotDroppedWhileAReaderIsTakenBack) {
    LogReading reading(*database, {.name = "one"});
    given_partition_passed(reading);
    auto transaction = expect_value(Transaction::begin(*connection, TransactionMode::kWrite));
    expect_value(rewind_reader(transaction, "one", 0));
    const auto other = expect_value(database->connect());
    auto trimming = expect_value(Transaction::begin(*other, TransactionMode::kWrite));
    EXPECT_EQ(expect_value(trim_log(trimming, clock.now() + std::chrono::hours(1), 1000)), 0U);
    expect_value(trimming.commit());
    expect_value(transaction.commit());
    EXPECT_TRUE(has("log_passing_1"));
}

TEST_F(LogPartitionsTest, StayWhileAnOpenTransactionHasRowsThere) {
    LogReading reading(*database);
    trim();
    PostgresSession slow(home.url());
    slow.run("BEGIN");
    append(slow, "slow");
    given_next_number(1'000'001);
    append(writer, "new");
    EXPECT_THAT(reading.take_all(), ElementsAre("new=1"));
    append(writer, "newer");
    EXPECT_THAT(reading.take_all(), ElementsAre("newer=1"));
    trim();
    EXPECT_TRUE(has("log_passing_1"));
    slow.run("COMMIT");
    trim();
    EXPECT_THAT(reading.take_all(), ElementsAre("slow=1"));
}

TEST_F(LogPartitionsTest, WhatCameTooEarlyGoesToTheDefaultOneAndFromThere) {
    LogReading reading(*database);
    given_next_number(5'000'000);
    append(writer, "early");
    EXPECT_EQ(partition_of("early"), "instep.log_passing_default");
    trim();
    EXPECT_EQ(partition_of("early"), "instep.log_passing_default");
    EXPECT_THAT(reading.take_all(), ElementsAre("early=1"));
    append(writer, "next");
    EXPECT_THAT(reading.take_all(), ElementsAre("next=1"));
    append(writer, "last");
    EXPECT_THAT(reading.take_all(), ElementsAre("last=1"));
    trim();
    append(writer, "unread");
    EXPECT_THAT(reading.take_all(), ElementsAre("unread=1"));
    given_next_number(6'100'000);
    append(writer, "ahead");
    EXPECT_NE(partition_of("ahead"), "instep.log_passing_default");
}

TEST_F(LogPartitionsTest, UpkeepWaitsForNoWriterAndNoWriterForUpkeep) {
    LogReading reading(*database);
    append(writer, "old");
    trim();
    given_next_number(1'000'001);
    append(writer, "new");
    reading.take_all();
    PostgresSession open(home.url());
    open.run("BEGIN");
    append(open, "open");
    PostgresSession open_reader(home.url());
    open_reader.run("BEGIN; SELECT count(*) FROM instep.log");

    std::atomic<int> appended = 0;
    std::jthread appender([&](const std::stop_token& stop) {
        PostgresSession session(home.url());
        session.run("SET lock_timeout = '20s'");
        while (!stop.stop_requested()) {
            append(session, "k");
            ++appended;
        }
    });
    for (int i = 0; i < 10; ++i) {
        trim();
        const int before = appended;
        EXPECT_TRUE(test::eventually([&] { return appended > before; }));
    }
    appender.request_stop();
    appender.join();
    EXPECT_TRUE(has("log_passing_1"));
    open.run("COMMIT");
    open_reader.run("COMMIT");
    while (!reading.take_all().empty()) {
    }
    append(writer, "last");
    reading.take_all();
    trim_until_gone("log_passing_1");
}

TEST_F(LogPartitionsTest, SeveralMayKeepThemUpAtOnce) {
    LogReading reading(*database);
    std::vector<std::jthread> others;
    for (int i = 0; i < 3; ++i) {
        others.emplace_back([&](const std::stop_token& stop) {
            auto own = expect_value(database->connect());
            while (!stop.stop_requested()) {
                auto transaction = Transaction::begin(*own, TransactionMode::kWrite);
                expect_value(trim_log(*transaction, clock.now() + std::chrono::hours(1), 1000));
                expect_value(transaction->commit());
            }
        });
    }
    std::vector<std::string> read;
    for (int i = 0; i < 40; ++i) {
        given_next_number(1 + i * 700'000);
        append(writer, fmt::format("k{}", i));
        for (const std::string& text : reading.take_all()) {
            read.push_back(text);
        }
        const int next = ((i * 700'000 + 1'900'000) / 1'000'000 * 1'000'000) + 1;
        EXPECT_TRUE(test::eventually([&] { return has(fmt::format("log_passing_{}", next)); }));
    }
    others.clear();
    EXPECT_THAT(read, SizeIs(40));
}

}  // namespace
}  // namespace instep
