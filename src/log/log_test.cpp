#include "instep/log/log.hpp"

#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using test::SyncSystem;
using test::value_of;
using testing::HasSubstr;

class LogTest : public testing::Test {
protected:
    static NewEvent opened(std::string key, std::string id = "") {
        NewEvent event;
        event.topic = "bank.account";
        event.key = std::move(key);
        event.type = "account.opened";
        event.data = R"({"n":1})";
        event.id = std::move(id);
        return event;
    }

    static NewEvent in_stream(std::string stream) {
        NewEvent event = opened(stream);
        event.stream = std::move(stream);
        return event;
    }

    Result<std::vector<Appended>> append_committed(
        const std::vector<NewEvent>& events, ExpectedVersion expected = ExpectedVersion::any()) {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*system.owner, TransactionMode::kWrite));
        INSTEP_TRY_ASSIGN(auto appended, append(transaction, events, expected));
        INSTEP_TRY(transaction.commit());
        return appended;
    }

    SyncSystem system;
};

TEST_F(LogTest, WhatIsRolledBackWasNeverAppended) {
    {
        auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite);
        const std::vector events = {opened("a")};
        ASSERT_TRUE(append(*transaction, events));
    }
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_log"), "0");
}

TEST_F(LogTest, AStreamCountsItsEventsFromOneWithoutGaps) {
    ASSERT_TRUE(append_committed({in_stream("s"), in_stream("other"), in_stream("s")}));
    const auto appended = append_committed({in_stream("s")});
    ASSERT_TRUE(appended);
    EXPECT_EQ(appended->front().stream_version, 3U);
}

TEST_F(LogTest, RefusesAnotherVersionThanExpectedAndSaysWhichItIs) {
    ASSERT_TRUE(append_committed({in_stream("s")}, ExpectedVersion::none()));
    const auto refused = append_committed({in_stream("s")}, ExpectedVersion::none());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().message, HasSubstr("at version 1, not 0"));
    EXPECT_TRUE(append_committed({in_stream("s")}, ExpectedVersion::exactly(1)));
}

TEST_F(LogTest, AnIdIsAppendedOnce) {
    const auto first = append_committed({opened("a", "id-1")});
    const auto again = append_committed({opened("a", "id-1"), opened("b", "id-2")});
    ASSERT_TRUE(first && again);
    EXPECT_TRUE(again->at(0).repeated);
    EXPECT_EQ(again->at(0).seq, first->at(0).seq);
    EXPECT_FALSE(again->at(1).repeated);
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_log"), "2");
}

TEST_F(LogTest, ARepeatedAppendIsNoConflict) {
    NewEvent event = in_stream("s");
    event.id = "id-1";
    ASSERT_TRUE(append_committed({event}, ExpectedVersion::none()));
    const auto again = append_committed({event}, ExpectedVersion::none());
    ASSERT_TRUE(again);
    EXPECT_TRUE(again->front().repeated);
}

TEST_F(LogTest, AnExpectedVersionNeedsExactlyOneStream) {
    const auto mixed = append_committed({in_stream("s"), in_stream("t")}, ExpectedVersion::none());
    ASSERT_FALSE(mixed);
    EXPECT_EQ(mixed.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(LogTest, RefusesDataBeyondTheLimitAndKeepsNothing) {
    NewEvent large = opened("a");
    large.data.assign(kEventDataBytesMax + 1, 'x');
    const auto refused = append_committed({opened("b"), large});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kLimitExceeded);
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_log"), "0");
}

TEST_F(LogTest, ReadsAStreamFromAVersionOn) {
    ASSERT_TRUE(append_committed({in_stream("s"), in_stream("s"), in_stream("s")}));
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kRead);
    const auto events = read_stream(*transaction, "bank", "s", 2, 10);
    ASSERT_TRUE(events);
    ASSERT_EQ(events->size(), 2U);
    EXPECT_EQ(events->front().stream_version, 2U);
    EXPECT_EQ(events->front().source, "bank");
}

TEST_F(LogTest, ANewEpochIsAboveWhatWasSeenElsewhere) {
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite);
    EXPECT_EQ(begin_epoch(*transaction, 7).value_or(0), 8U);
    EXPECT_EQ(begin_epoch(*transaction, 3).value_or(0), 9U);
}

TEST_F(LogTest, TrimsOnlyWhatEveryReaderHasPassed) {
    ASSERT_TRUE(append_committed({opened("a"), opened("b"), in_stream("s"), opened("c")}));
    const auto trim = [&] {
        auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite);
        const auto trimmed = trim_log(*transaction, system.clock.now() + std::chrono::hours(1), 10);
        EXPECT_TRUE(transaction->commit());
        return trimmed.value_or(99);
    };
    EXPECT_EQ(trim(), 0U) << "nobody has read anything";
    system.settle();
    EXPECT_EQ(trim(), 3U) << "the stream's event stays";
    EXPECT_EQ(value_of(*system.owner, "SELECT group_concat(key) FROM instep_log"), "s");
}

TEST_F(LogTest, TrimsNothingThatAPartitionHasNeverLookedAt) {
    ASSERT_TRUE(append_committed({opened("a"), opened("b")}));
    system.owner_sql(
        "INSERT INTO instep_cursor (reader, partition, partitions, seq, moved_us) VALUES ('relay', "
        "0, 2, 2, 0)");
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite);
    EXPECT_EQ(trim_log(*transaction, system.clock.now() + std::chrono::hours(1), 10).value_or(9),
              0U);
}

TEST_F(LogTest, PlainSqlAppendsToo) {
    system.owner_sql(
        "INSERT INTO instep_log (topic, key, type, data) VALUES ('iam.note', 'k', 'note.taken', "
        "'{\"text\":\"hello\"}')");
    system.settle();
    const auto lag = log_lag(*system.owner, "relay");
    ASSERT_TRUE(lag);
    EXPECT_EQ(lag->events, 0U);
    EXPECT_EQ(system.relays.front()->stats().events_published, 1U);
}

}  // namespace
}  // namespace instep
