#include "past.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace instep::rabbitmq {
namespace {

using namespace std::chrono_literals;
using Phase = Past::Phase;

constexpr std::chrono::microseconds kStart = 1h;

class PastTest : public ::testing::Test {
protected:
    /// Taken back to behind `begin`, with this many messages in the stream.
    void given_past(Position begin, Position messages) {
        newest_ = messages;
        past_ = {.begin = begin,
                 .end = messages,
                 .queue_base = 0,
                 .waits_until = kStart + kBothPatience};
        now_ = kStart + kBothPatience;
    }

    /// The message at the position waits first in the queue.
    void queue_begins_with(Position position) { past_.first_in_queue = sending_at(position); }

    static std::string sending_at(Position position) { return "s" + std::to_string(position); }

    /// Reads the block that is to be searched, as far as is wanted; returns which it is.
    std::pair<Position, Position> search_block() {
        EXPECT_EQ(past_.phase, Phase::kSearching);
        for (Position at = past_.searched_from + 1; !past_.is_searched && at <= newest_; ++at) {
            past_.look_at(at, sending_at(at));
        }
        EXPECT_TRUE(past_.is_due(now_));
        return {past_.searched_from, past_.searched_to};
    }

    void go_on() {
        EXPECT_TRUE(past_.is_due(now_));
        past_.go_on(now_, newest_);
    }

    Past past_;
    Position newest_ = 0;
    std::chrono::microseconds now_{0};
};

TEST_F(PastTest, WaitsForWhatIsUnderWay) {
    given_past(0, 10);
    EXPECT_FALSE(past_.is_due(now_ - 1us));
    EXPECT_TRUE(past_.is_due(now_));
}

TEST_F(PastTest, ReadsAllOfItIfTheQueueIsEmpty) {
    given_past(3, 10);
    go_on();
    EXPECT_EQ(past_.phase, Phase::kReading);
    EXPECT_EQ(past_.end, 10U);
}

TEST_F(PastTest, ReadsUpToWhatWaits) {
    given_past(3, 10);
    queue_begins_with(8);
    go_on();
    search_block();
    go_on();
    EXPECT_EQ(past_.phase, Phase::kReading);
    EXPECT_EQ(past_.end, 7U);
    EXPECT_FALSE(past_.is_due(now_));
}

TEST_F(PastTest, SearchesBackwardsInBlocksThatGrow) {
    given_past(0, 10'000);
    queue_begins_with(2'500);
    std::vector<std::pair<Position, Position>> blocks;
    for (go_on(); past_.phase == Phase::kSearching; go_on()) {
        blocks.push_back(search_block());
    }
    EXPECT_EQ(blocks, (std::vector<std::pair<Position, Position>>{
                          {9'000, 10'000}, {7'000, 9'000}, {3'000, 7'000}, {0, 3'000}}));
    EXPECT_EQ(past_.end, 2'499U);
}

TEST_F(PastTest, WhatCameAfterItWasTakenBackIsBehindTheEnd) {
    given_past(0, 10);
    newest_ = 12;
    queue_begins_with(12);
    go_on();
    search_block();
    go_on();
    EXPECT_EQ(past_.end, 10U);
}

TEST_F(PastTest, ReadsNothingIfWhatWaitsIsOlder) {
    given_past(5, 10);
    queue_begins_with(2);
    go_on();
    search_block();
    go_on();
    EXPECT_EQ(past_.phase, Phase::kWaiting) << "it may only just have come";
    EXPECT_FALSE(past_.is_due(now_));
    now_ += kBothPatience;
    queue_begins_with(2);
    go_on();
    search_block();
    go_on();
    EXPECT_EQ(past_.phase, Phase::kReading);
    EXPECT_EQ(past_.end, 5U);
}

TEST_F(PastTest, FindsTheSecondTimeWhatHadOnlyJustCome) {
    given_past(5, 10);
    queue_begins_with(11);
    go_on();
    search_block();
    go_on();
    newest_ = 11;
    now_ += kBothPatience;
    queue_begins_with(11);
    go_on();
    search_block();
    go_on();
    EXPECT_EQ(past_.phase, Phase::kReading);
    EXPECT_EQ(past_.end, 10U);
}

}  // namespace
}  // namespace instep::rabbitmq
