#include "backlog_watch.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;

class BacklogWatchTest : public testing::Test {
protected:
    std::string look(Backlog backlog, std::chrono::seconds at) {
        return watch_.look("relay", backlog, at);
    }

    BacklogWatch watch_{60s};
};

TEST_F(BacklogWatchTest, SaysNothingWhileEventsMove) {
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(look({5, static_cast<std::uint64_t>(i)}, i * 50s), "");
    }
}

TEST_F(BacklogWatchTest, SaysNothingWhileTheBacklogShrinks) {
    EXPECT_EQ(look({9, 0}, 0s), "");
    EXPECT_EQ(look({8, 0}, 50s), "");
    EXPECT_EQ(look({7, 0}, 100s), "");
}

TEST_F(BacklogWatchTest, SaysNothingWhenThereIsNoWork) {
    EXPECT_EQ(look({0, 1}, 0s), "");
    EXPECT_EQ(look({0, 1}, 1000s), "");
    EXPECT_EQ(look({3, 1}, 1001s), "");
}

TEST_F(BacklogWatchTest, ReportsABacklogThatDoesNotMoveAlsoIfItGrows) {
    EXPECT_EQ(look({1, 4}, 0s), "");
    EXPECT_EQ(look({2, 4}, 59s), "");
    EXPECT_EQ(look({3, 4}, 75s), "3 events wait, and none has moved for 75 s");
    EXPECT_EQ(look({3, 5}, 80s), "");
}

}  // namespace
}  // namespace instep
