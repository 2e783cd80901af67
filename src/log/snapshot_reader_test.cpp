// What PostgreSQL does between commits, one step at a time, and that the reader keeps every
// event and the order of every key through it.
#include "instep/log/reader.hpp"
#include "tests/support/log_reading.hpp"
#include "tests/support/postgres_session.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using test::Home;
using test::LogReading;
using test::PostgresServer;
using test::PostgresSession;
using test::SyncSystem;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

/// With the cursor moved after each batch, or together with the next one.
class SnapshotReaderTest : public testing::TestWithParam<bool> {
protected:
    explicit SnapshotReaderTest(PostgresServer& server = PostgresServer::shared())
        : system({.owner = Home::kPostgres, .server = &server}) {
        system.owner_sql("CREATE TABLE other (number integer)");
        system.owner_sql("CREATE TABLE rows (id integer PRIMARY KEY, v text)");
        system.publish({{"rows", "row", {"id"}, {"id", "v"}, {}}});
    }

    LogReading open(Partition partition = {}, std::uint32_t rows_max = 1000) {
        return LogReading(*system.owner_database,
                          {.partition = partition, .rows_max = rows_max, .late = GetParam()});
    }

    static std::string event(std::string_view key, std::string_view data = "1") {
        return fmt::format("SELECT instep.append('t', '{}', 'x.done', '{}')", key, data);
    }

    static std::string events(int count) {
        return fmt::format(
            "SELECT count(instep.append('t', 'k' || n, 'x.done', n::text)) "
            "FROM generate_series(1, {}) n",
            count);
    }

    SyncSystem system;
    const std::string url = system.servers.front()->url();
    PostgresSession control{url};
    PostgresSession a{url};
    PostgresSession b{url};
};

TEST_P(SnapshotReaderTest, ReadsTheFirstEventOfALogThatItHasSeenEmpty) {
    LogReading reading = open();
    EXPECT_THAT(reading.take(), IsEmpty());
    EXPECT_THAT(reading.take(), IsEmpty());
    a.run(event("first"));
    EXPECT_THAT(reading.take(), ElementsAre("first=1"));
}

TEST_P(SnapshotReaderTest, ABoundaryStandsAtTheEndOfABatch) {
    LogReading reading = open({}, 2);
    EXPECT_EQ(reading.read().boundary, 0U);
    a.run("BEGIN; " + events(3));
    b.run(event("other"));
    a.run("COMMIT");
    LogBatch batch = reading.read();
    EXPECT_THAT(batch.events, SizeIs(2));
    EXPECT_EQ(batch.boundary, std::nullopt);
    reading.confirm(batch, 2);
    b.run(event("late"));
    batch = reading.read();
    EXPECT_THAT(batch.events, SizeIs(2));
    EXPECT_EQ(batch.boundary, std::nullopt);
    reading.confirm(batch, 2);
    // A page that was full does not know that nothing is behind it.
    batch = reading.read();
    EXPECT_THAT(batch.events, IsEmpty());
    EXPECT_EQ(batch.boundary, 0U);
}

TEST_P(SnapshotReaderTest, KeepsTheOrderOfARowWhoseLaterWriterHasTheEarlierId) {
    control.run("INSERT INTO rows VALUES (1, 'init')");
    LogReading reading = open();
    reading.take_all();
    a.run("BEGIN; INSERT INTO other VALUES (1)");
    b.run("UPDATE rows SET v = 'B' WHERE id = 1");
    a.run("UPDATE rows SET v = 'A' WHERE id = 1; COMMIT");

    EXPECT_THAT(reading.take(), ElementsAre(R"(1={"id":1,"v":"B"})", R"(1={"id":1,"v":"A"})"));
}

TEST_P(SnapshotReaderTest, ReadsWhatIsCommittedAfterTheCursorMovedPastItsNumber) {
    LogReading reading = open();
    a.run("BEGIN; " + event("slow"));
    b.run(event("fast"));
    EXPECT_THAT(reading.take(), ElementsAre("fast=1"));
    for (int i = 0; i < 5; ++i) {
        b.run(event("more"));
        EXPECT_THAT(reading.take(), ElementsAre("more=1"));
        EXPECT_THAT(reading.take(), IsEmpty());
    }
    a.run("COMMIT");
    EXPECT_THAT(reading.take(), ElementsAre("slow=1"));
    reading.settle();
    EXPECT_THAT(open().take(), IsEmpty());
}

TEST_P(SnapshotReaderTest, ATransactionThatStaysOpenDelaysNoOther) {
    LogReading reading = open();
    a.run("BEGIN; " + event("open"));
    for (int i = 0; i < 20; ++i) {
        b.run(event(fmt::format("k{}", i)));
        EXPECT_THAT(reading.take(), ElementsAre(fmt::format("k{}=1", i)));
    }
    a.run("ROLLBACK");
    EXPECT_THAT(reading.take(), IsEmpty());
}

TEST_P(SnapshotReaderTest, ReadsWhatWasAppendedWithinASavepointOnce) {
    LogReading reading = open();
    a.run("BEGIN; " + event("whole") + "; SAVEPOINT s; " + event("kept") +
          "; RELEASE s; SAVEPOINT s; " + event("undone") + "; ROLLBACK TO s");
    b.run(event("between"));
    EXPECT_THAT(reading.take(), ElementsAre("between=1"));
    a.run("COMMIT");
    EXPECT_THAT(reading.take(), ElementsAre("whole=1", "kept=1"));
    EXPECT_THAT(reading.take(), IsEmpty());
}

TEST_P(SnapshotReaderTest, ANumberWithoutATransactionIdStopsNothing) {
    LogReading reading = open();
    // The first of 32 is written to the server's log, which takes an id.
    control.run("SELECT nextval('instep.log_seq')");
    a.run("BEGIN; SELECT nextval('instep.log_seq')");
    EXPECT_EQ(a.run("SELECT coalesce(pg_current_xact_id_if_assigned()::text, 'none')"), "none");
    b.run(event("later"));
    EXPECT_THAT(reading.take(), ElementsAre("later=1"));
    a.run(event("late"));
    b.run(event("last"));
    EXPECT_THAT(reading.take(), ElementsAre("last=1"));
    a.run("COMMIT");
    EXPECT_THAT(reading.take(), ElementsAre("late=1"));
}

class PreparedSnapshotReaderTest : public SnapshotReaderTest {
protected:
    PreparedSnapshotReaderTest()
        : SnapshotReaderTest(PostgresServer::with_prepared_transactions()) {}
};

TEST_P(PreparedSnapshotReaderTest, ReadsPreparedTransactionsWhenTheyAreCommitted) {
    LogReading reading = open();
    a.run("BEGIN; " + event("prepared") + "; PREPARE TRANSACTION 'snapshot_reader_test'");
    b.run(event("other"));
    EXPECT_THAT(reading.take(), ElementsAre("other=1"));
    reading.settle();
    EXPECT_THAT(open().take(), IsEmpty());
    b.run("COMMIT PREPARED 'snapshot_reader_test'");
    EXPECT_THAT(open().take(), ElementsAre("prepared=1"));
}

TEST_P(SnapshotReaderTest, ReadsTheSameWithTheSameVersionsAfterACrashAnywhere) {
    a.run("BEGIN; " + event("slow"));
    b.run(events(25));
    const LogBatch first = open({}, 10).read();
    ASSERT_THAT(first.events, SizeIs(10));
    // What is committed now belongs to a later batch, whatever its number.
    a.run("COMMIT");
    b.run(event("new"));
    std::vector<Event> read;
    std::vector<Version> versions;
    while (true) {
        const LogBatch once = open({}, 10).read();
        LogReading again = open({}, 10);
        const LogBatch twice = again.read();
        ASSERT_EQ(once.seqs, twice.seqs);
        for (std::size_t i = 0; i < twice.events.size(); ++i) {
            ASSERT_EQ(once.events[i].event, twice.events[i].event);
        }
        if (!twice.moves_cursor) {
            break;
        }
        const std::size_t part = std::min<std::size_t>(twice.events.size(), 7);
        again.confirm(twice, part);
        for (std::size_t i = 0; i < part; ++i) {
            read.push_back(twice.events[i].event);
            versions.push_back(twice.events[i].event.version);
        }
    }
    ASSERT_THAT(read, SizeIs(27));
    EXPECT_TRUE(std::ranges::is_sorted(versions));
    EXPECT_EQ(std::ranges::adjacent_find(versions), versions.end());
    EXPECT_EQ(read[0].version, first.events[0].event.version);
    EXPECT_EQ(read[24].version.batch, read[0].version.batch);
    EXPECT_EQ(read[25].key, "slow");
    EXPECT_GT(read[25].version.batch, read[24].version.batch);
}

TEST_P(SnapshotReaderTest, TheSlowerOfTwoReadersOfACursorIsFenced) {
    control.run(event("k"));
    LogReading slow = open();
    const LogBatch old = slow.read();
    LogReading fast = open();
    EXPECT_THAT(fast.take(), ElementsAre("k=1"));
    control.run(event("l"));
    EXPECT_THAT(fast.take(), ElementsAre("l=1"));

    const auto confirmed = slow.try_confirm(old, 1);
    ASSERT_FALSE(confirmed);
    EXPECT_EQ(confirmed.error().code, ErrorCode::kFenced);
    fast.settle();
    EXPECT_THAT(open().take(), IsEmpty());
}

TEST_P(SnapshotReaderTest, AReaderThatBeginsABatchBehindAnotherOneIsFenced) {
    LogReading slow = open();
    LogReading fast = open();
    control.run(event("k"));
    EXPECT_THAT(fast.take(), ElementsAre("k=1"));

    const auto read = slow.try_read();
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, ErrorCode::kFenced);
}

TEST_P(SnapshotReaderTest, ABatchThatIsStoredBehindAnotherOneIsReadAgainAlone) {
    LogReading reading = open();
    a.run(event("first"));
    const LogBatch first = reading.read();
    a.run(event("second"));
    const LogBatch second = reading.advance(first);
    ASSERT_THAT(second.events, SizeIs(1));
    a.run(event("third"));

    const LogBatch again = open().read();
    ASSERT_THAT(again.events, SizeIs(1));
    EXPECT_EQ(again.events[0].event, second.events[0].event);
    EXPECT_EQ(again.events[0].event.version.batch, first.events[0].event.version.batch + 1);
}

TEST_P(SnapshotReaderTest, WhoMayNotGoOnMovesNothing) {
    LogReading reading = open();
    a.run(event("first"));
    const LogBatch first = reading.read();
    a.run(event("second"));
    const auto refused = reading.try_advance(first, fail(ErrorCode::kFenced, "replaced"));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kFenced);

    const LogBatch again = open().read();
    ASSERT_THAT(again.events, SizeIs(1));
    EXPECT_EQ(again.events[0].event, first.events[0].event);
}

TEST_P(SnapshotReaderTest, PartitionsShareTheLogWithoutOverlapOrGap) {
    std::vector<LogReading> readings;
    for (std::uint32_t i = 0; i < 3; ++i) {
        readings.push_back(open({i, 3}, 10));
    }
    std::vector<std::string> read;
    const auto take = [&](LogReading& reading) {
        for (const std::string& text : reading.take_all()) {
            read.push_back(text);
        }
    };
    for (int i = 0; i < 4; ++i) {
        a.run("BEGIN; " + event(fmt::format("slow{}", i), "0"));
        b.run(events(20));
        take(readings[i % 3]);
        a.run("COMMIT");
        take(readings[(i + 1) % 3]);
    }
    for (LogReading& reading : readings) {
        take(reading);
    }
    EXPECT_THAT(read, SizeIs(84));
    std::ranges::sort(read);
    EXPECT_EQ(std::ranges::count(read, "k7=7"), 4);
    EXPECT_EQ(std::ranges::count(read, "slow2=0"), 1);
}

constexpr auto kNameOf = [](const testing::TestParamInfo<bool>& late) {
    return late.param ? "cursor_moved_late" : "cursor_moved_at_once";
};

INSTANTIATE_TEST_SUITE_P(, SnapshotReaderTest, testing::Bool(), kNameOf);
INSTANTIATE_TEST_SUITE_P(, PreparedSnapshotReaderTest, testing::Bool(), kNameOf);

}  // namespace
}  // namespace instep
