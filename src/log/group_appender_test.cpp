#include "instep/log/group_appender.hpp"

#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace instep {
namespace {

using test::SyncSystem;
using test::value_of;

NewEvent event_of(std::string stream) {
    NewEvent event;
    event.topic = "bank.account";
    event.key = stream;
    event.stream = std::move(stream);
    event.type = "account.opened";
    event.data = "{}";
    return event;
}

TEST(GroupAppenderTest, EveryThreadsEventsAreInTheLogWhenItsCallReturns) {
    SyncSystem system;
    auto appender = GroupAppender::open(*system.owner_database);
    ASSERT_TRUE(appender);
    constexpr int kThreads = 8;
    constexpr int kEach = 25;
    std::atomic<int> failed = 0;
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < kThreads; ++t) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < kEach; ++i) {
                    const std::vector events = {event_of(fmt::format("s{}", t))};
                    const auto done = (*appender)->append(events);
                    failed += done && done->front().stream_version == std::uint64_t(i) + 1 ? 0 : 1;
                }
            });
        }
    }
    EXPECT_EQ(failed, 0);
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_log"), "200");
}

TEST(GroupAppenderTest, AConflictInOneCallLeavesTheOthersAlone) {
    SyncSystem system;
    auto appender = GroupAppender::open(*system.owner_database);
    ASSERT_TRUE(appender);
    std::atomic<int> won = 0;
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 8; ++t) {
            threads.emplace_back([&] {
                const std::vector events = {event_of("contested")};
                won += (*appender)->append(events, ExpectedVersion::none()) ? 1 : 0;
            });
        }
    }
    EXPECT_EQ(won, 1);
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep_log"), "1");
}

}  // namespace
}  // namespace instep
