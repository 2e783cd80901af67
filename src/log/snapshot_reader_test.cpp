// What PostgreSQL does between commits, one step at a time, and that the reader keeps every
// event and the order of every key through it.
#include "instep/base/random.hpp"
#include "instep/log/reader.hpp"
#include "tests/support/log_reading.hpp"
#include "tests/support/postgres_session.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>

namespace instep {
namespace {

using test::Home;
using test::LogReading;
using test::PostgresServer;
using test::PostgresSession;
using test::SyncSystem;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Le;
using testing::SizeIs;

/// Transactions of several sessions at a time, each with events whose key is its name.
class TransactionsOfSessions {
public:
    explicit TransactionsOfSessions(std::array<PostgresSession*, 3> sessions) {
        for (std::size_t i = 0; i < sessions.size(); ++i) {
            open_[i].session = sessions[i];
        }
    }

    /// One session begins a transaction, adds to it, or ends it.
    void act() {
        OpenTransaction& open = open_[random_.next() % open_.size()];
        const std::uint64_t choice = random_.next() % 8;
        if (open.name.empty()) {
            open.name = fmt::format("t{}", ++begun_);
            open.session->run("BEGIN");
        } else if (choice < 2) {
            end(open, choice == 0 ? "COMMIT" : "ROLLBACK");
            return;
        }
        const int count = 1 + static_cast<int>(random_.next() % 8);
        open.session->run(
            fmt::format("SELECT count(instep.append('t', '{}', 'x.done', '1')) "
                        "FROM generate_series(1, {}) n",
                        open.name, count));
        open.events += count;
    }

    void finish() {
        for (OpenTransaction& open : open_) {
            if (!open.name.empty()) {
                end(open, "COMMIT");
            }
        }
    }

    /// How many events each has that was committed.
    [[nodiscard]] const std::map<std::string, int>& committed() const { return committed_; }

private:
    struct OpenTransaction {
        PostgresSession* session = nullptr;
        std::string name;
        int events = 0;
    };

    void end(OpenTransaction& open, const std::string& how) {
        open.session->run(how);
        if (how == "COMMIT") {
            committed_[open.name] = open.events;
        }
        open.name.clear();
        open.events = 0;
    }

    SeededRandom random_{7};
    std::array<OpenTransaction, 3> open_;
    std::map<std::string, int> committed_;
    int begun_ = 0;
};

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

    LogReading open_for_boundaries() {
        return LogReading(*system.owner_database,
                          {.rows_max = 10, .late = GetParam(), .wants_boundaries = true});
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

TEST_P(SnapshotReaderTest, BoundariesComeAsOftenWhereWritersAreFasterThanTheReader) {
    LogReading reading = open_for_boundaries();
    a.run(events(40));
    std::vector<std::size_t> steps;
    std::size_t step = 0;
    for (int pages = 0; pages < 30; ++pages) {
        const LogBatch batch = reading.take_batch();
        step += batch.events.size();
        if (batch.boundary) {
            steps.push_back(step);
            step = 0;
        }
        b.run(events(25));
    }
    EXPECT_THAT(steps, Each(Le(40U)));
    EXPECT_THAT(steps, SizeIs(9));
}

TEST_P(SnapshotReaderTest, TransactionsAreWholeAtBoundariesWhateverIsOpenMeanwhile) {
    TransactionsOfSessions writers({&a, &b, &control});
    LogReading reading = open_for_boundaries();
    std::map<std::string, int> read;
    Version newest;
    int boundaries = 0;
    const auto take = [&] {
        const LogBatch batch = reading.take_batch();
        for (const TopicEvent& next : batch.events) {
            EXPECT_LT(newest, next.event.version);
            newest = next.event.version;
            ++read[next.event.key];
        }
        if (batch.boundary && !batch.events.empty()) {
            ++boundaries;
            for (const auto& [name, count] : read) {
                EXPECT_EQ(count, writers.committed().at(name)) << name << " is half told";
            }
        }
        return batch.moves_cursor;
    };
    for (int i = 0; i < 600; ++i) {
        writers.act();
        if (i % 3 == 0) {
            take();
        }
    }
    writers.finish();
    while (take()) {
    }
    EXPECT_EQ(read, writers.committed());
    EXPECT_GT(boundaries, 30);
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
