#include "instep/log/reader.hpp"

#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using test::SyncSystem;
using testing::ElementsAre;
using testing::IsEmpty;

class LogReaderTest : public testing::Test {
protected:
    void given_events(int count) {
        for (int i = 0; i < count; ++i) {
            system.owner_sql(
                fmt::format("INSERT INTO instep_log (topic, key, type, data) VALUES ('t', 'k{}', "
                            "'x.done', '1')",
                            ++appended_));
        }
    }

    std::unique_ptr<LogReader> open(Partition partition = {}, std::uint32_t rows_max = 1000,
                                    ChunkSource* chunks = nullptr) {
        LogReaderOptions options;
        options.name = "test";
        options.service = "iam";
        options.partition = partition;
        options.rows_max = rows_max;
        auto reader = LogReader::open(*system.owner, options, chunks);
        EXPECT_TRUE(reader);
        return std::move(*reader);
    }

    LogBatch read(LogReader& reader) {
        auto batch = reader.read(*system.owner);
        EXPECT_TRUE(batch);
        return std::move(*batch);
    }

    void confirm(LogReader& reader, const LogBatch& batch, std::size_t count) {
        auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite);
        EXPECT_TRUE(reader.confirm(*transaction, batch, count));
        EXPECT_TRUE(transaction->commit());
    }

    static std::vector<std::string> keys(const LogBatch& batch) {
        std::vector<std::string> keys;
        for (const TopicEvent& next : batch.events) {
            keys.push_back(next.event.key);
        }
        return keys;
    }

    SyncSystem system;

private:
    int appended_ = 0;
};

TEST_F(LogReaderTest, ReadsInOrderFromTheBeginning) {
    given_events(3);
    auto reader = open();
    EXPECT_THAT(keys(read(*reader)), ElementsAre("k1", "k2", "k3"));
}

TEST_F(LogReaderTest, ReadsTheSameAgainUntilItIsConfirmed) {
    given_events(2);
    auto reader = open();
    const LogBatch first = read(*reader);
    EXPECT_EQ(read(*reader).events.front().event, first.events.front().event);
    confirm(*reader, first, 1);
    EXPECT_THAT(keys(read(*open())), ElementsAre("k2"));
}

TEST_F(LogReaderTest, AnEventKeepsItsIdAndVersionAtEveryReading) {
    given_events(1);
    const Event once = read(*open()).events.front().event;
    const Event twice = read(*open()).events.front().event;
    EXPECT_EQ(once.id, twice.id);
    EXPECT_EQ(once.version, twice.version);
    EXPECT_EQ(once.id.size(), 36U);
}

TEST_F(LogReaderTest, ALogWhoseNewestRowsAreTrimmedIsNoEarlierCopy) {
    given_events(3);
    const Version newest = read(*open()).events.back().event.version;
    system.owner_sql("DELETE FROM instep_log WHERE seq = (SELECT max(seq) FROM instep_log)");
    const auto reader = open();
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kRead);
    EXPECT_GE(reader->newest(*transaction).value(), newest);
}

TEST_F(LogReaderTest, IdsDiffer) {
    given_events(200);
    auto reader = open();
    std::set<std::string> ids;
    for (const TopicEvent& next : read(*reader).events) {
        ids.insert(next.event.id);
    }
    EXPECT_EQ(ids.size(), 200U);
}

TEST_F(LogReaderTest, PartitionsShareTheLogWithoutOverlapOrGap) {
    given_events(50);
    std::vector<std::string> all;
    for (std::uint32_t i = 0; i < 4; ++i) {
        auto reader = open({i, 4});
        const LogBatch batch = read(*reader);
        const auto part = keys(batch);
        EXPECT_FALSE(part.empty());
        all.insert(all.end(), part.begin(), part.end());
        confirm(*reader, batch, batch.events.size());
        EXPECT_EQ(batch.end, 50U);
    }
    EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 50U);
    EXPECT_EQ(all.size(), 50U);
}

TEST_F(LogReaderTest, RequestsGoToTheFirstPartitionWhateverTheirKey) {
    for (int i = 0; i < 20; ++i) {
        system.owner_sql(
            fmt::format("INSERT INTO instep_log (topic, key, type, data) VALUES ('crm.requests', "
                        "'{}', 'scan.requested', '{{}}')",
                        i));
    }
    EXPECT_EQ(keys(read(*open({0, 3}))).size(), 20U);
    EXPECT_THAT(keys(read(*open({1, 3}))), IsEmpty());
    EXPECT_THAT(keys(read(*open({2, 3}))), IsEmpty());
}

TEST_F(LogReaderTest, ReadsInTheEpochThatAnotherHasBegun) {
    const auto reader = open();
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite);
    EXPECT_EQ(begin_epoch(*transaction, 6), 7U);
    EXPECT_TRUE(transaction->commit());
    given_events(1);
    EXPECT_EQ(read(*reader).events.at(0).event.version.epoch, 7U);
}

TEST_F(LogReaderTest, RefusesAnotherNumberOfPartitions) {
    open({0, 2});
    LogReaderOptions options;
    options.name = "test";
    options.service = "iam";
    options.partition = {0, 3};
    const auto refused = LogReader::open(*system.owner, options, nullptr);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
}

/// Gives one chunk whenever it is asked.
class OneChunk final : public ChunkSource {
public:
    Result<std::vector<TopicEvent>> read_chunks(Transaction&, const Version& as_of) override {
        TopicEvent chunk;
        chunk.topic = "t";
        chunk.event.key = "chunk";
        chunk.event.version = as_of;
        return std::vector{chunk};
    }
    Result<void> confirm_chunks(Transaction&) override {
        ++confirmed;
        return {};
    }
    int confirmed = 0;
};

TEST_F(LogReaderTest, AChunkStandsBehindTheLastEventOfTheLogOnly) {
    given_events(3);
    OneChunk chunks;
    auto reader = open({}, 2, &chunks);
    const LogBatch full = read(*reader);
    EXPECT_THAT(keys(full), ElementsAre("k1", "k2"));
    confirm(*reader, full, 2);
    const LogBatch last = read(*reader);
    EXPECT_THAT(keys(last), ElementsAre("k3", "chunk"));
    EXPECT_GT(last.events[1].event.version, last.events[0].event.version);
}

TEST_F(LogReaderTest, AChunkIsConfirmedOnlyWithEverythingBeforeIt) {
    given_events(1);
    OneChunk chunks;
    auto reader = open({}, 10, &chunks);
    const LogBatch batch = read(*reader);
    confirm(*reader, batch, 1);
    EXPECT_EQ(chunks.confirmed, 0);
    confirm(*reader, read(*reader), 1);
    EXPECT_EQ(chunks.confirmed, 1);
}

TEST_F(LogReaderTest, ABoundaryStandsWhereSomeSnapshotOfTheLogEnded) {
    given_events(5);
    auto reader = open({}, 2);
    LogBatch batch = read(*reader);
    EXPECT_EQ(batch.boundary, std::nullopt);
    confirm(*reader, batch, 2);
    // Whatever comes meanwhile does not move the end that was seen.
    given_events(4);
    batch = read(*reader);
    EXPECT_EQ(batch.boundary, std::nullopt);
    confirm(*reader, batch, 2);
    batch = read(*reader);
    EXPECT_THAT(keys(batch), ElementsAre("k5", "k6"));
    EXPECT_EQ(batch.boundary, 1U);
    confirm(*reader, batch, 2);
    batch = read(*reader);
    EXPECT_EQ(batch.boundary, std::nullopt);
    confirm(*reader, batch, 2);
    batch = read(*reader);
    EXPECT_EQ(batch.boundary, 1U);
    confirm(*reader, batch, 1);
    EXPECT_EQ(read(*reader).boundary, 0U);
}

TEST_F(LogReaderTest, SaysHowFarItIsBehind) {
    given_events(3);
    auto reader = open();
    confirm(*reader, read(*reader), 1);
    const auto lag = log_lag(*system.owner, "test");
    ASSERT_TRUE(lag);
    EXPECT_EQ(lag->events, 2U);
    EXPECT_TRUE(lag->oldest);
}

}  // namespace
}  // namespace instep
