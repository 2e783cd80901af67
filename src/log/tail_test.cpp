#include "instep/log/tail.hpp"

#include "instep/db/schema.hpp"
#include "instep/db/sqlite/database.hpp"
#include "tests/support/manual_clock.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace instep {
namespace {

class LogTailTest : public testing::Test {
protected:
    void SetUp() override {
        database_ = *open_sqlite_in_memory(clock_);
        connection_ = *database_->connect();
        ASSERT_TRUE(migrate(*connection_, service_migrations(connection_->dialect())));
    }

    void append(const std::vector<std::string>& keys) {
        auto transaction = Transaction::begin(*connection_, TransactionMode::kWrite);
        ASSERT_TRUE(transaction);
        for (const std::string& key : keys) {
            NewEvent event;
            event.topic = "iam.user";
            event.key = key;
            event.type = "user.created";
            ASSERT_TRUE(instep::append(*transaction, std::span(&event, 1)));
        }
        ASSERT_TRUE(transaction->commit());
    }

    LogSlice read(std::uint64_t after, std::uint32_t count = 100) {
        auto slice = read_log(*connection_, "iam", after, count);
        EXPECT_TRUE(slice);
        return slice ? *slice : LogSlice{};
    }

    static std::string keys(const LogSlice& slice) {
        std::string keys;
        for (const TopicEvent& each : slice.events) {
            keys += each.event.key;
        }
        return keys;
    }

    test::ManualClock clock_;
    std::unique_ptr<Database> database_;
    std::unique_ptr<Connection> connection_;
};

TEST_F(LogTailTest, ShowsEventsInCommitOrderWithTheirTopic) {
    append({"a", "b"});
    const LogSlice slice = read(0);
    EXPECT_EQ(keys(slice), "ab");
    EXPECT_EQ(slice.events[0].topic, "iam.user");
    EXPECT_EQ(slice.events[0].event.source, "iam");
}

TEST_F(LogTailTest, GoesOnWhereTheLastLookEnded) {
    append({"a", "b", "c"});
    const LogSlice first = read(0, 2);
    EXPECT_EQ(keys(first), "ab");
    EXPECT_EQ(keys(read(first.end)), "c");
}

TEST_F(LogTailTest, StaysWhereItIsWithoutNews) {
    append({"a"});
    const std::uint64_t end = read(0).end;
    EXPECT_EQ(read(end).end, end);
}

TEST_F(LogTailTest, BeginsBehindWhatTheLogHolds) {
    append({"a"});
    const auto end = log_end(*connection_);
    ASSERT_TRUE(end);
    append({"b"});
    EXPECT_EQ(keys(read(*end)), "b");
}

TEST_F(LogTailTest, LeavesNoCursorThatWouldKeepEvents) {
    append({"a"});
    read(0);
    auto rows = connection_->query("SELECT count(*) FROM instep_cursor", {});
    ASSERT_TRUE(rows && (*rows)->next());
    EXPECT_EQ((*rows)->integer(0), 0);
}

TEST_F(LogTailTest, SaysThatAForeignDatabaseHasNoLog) {
    const auto other = *open_sqlite_in_memory(clock_);
    const auto connection = *other->connect();
    EXPECT_EQ(read_log(*connection, "iam", 0, 1).error().code, ErrorCode::kSchemaMismatch);
    EXPECT_EQ(log_end(*connection).error().code, ErrorCode::kSchemaMismatch);
}

}  // namespace
}  // namespace instep
