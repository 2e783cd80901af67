#include "instep/concurrency/loop.hpp"

#include "instep/telemetry/logger.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/log_lines.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::eventually;

class LoopTest : public testing::Test {
protected:
    std::unique_ptr<Loop> loop(Loop::Step step) {
        LoopOptions options;
        options.name = "test";
        options.idle.idle_max = 1h;
        options.backoff = {1ms, 1.0, 1ms, 0.0};
        return std::make_unique<Loop>(options, std::move(step), nullptr, clock, random, logger);
    }

    SystemClock clock;
    SystemRandom random;
    test::LogLines lines;
    Logger logger{lines, clock};
};

TEST_F(LoopTest, RunsItsStepWhileThereIsWork) {
    std::atomic<int> left = 5;
    auto subject = loop([&](const std::stop_token&) -> Result<std::uint64_t> {
        return left > 0 ? (--left, 1) : 0;
    });
    subject->start();
    EXPECT_TRUE(eventually([&] { return subject->stats().work == 5; }));
    EXPECT_TRUE(subject->stop(test::kPatience));
}

TEST_F(LoopTest, GoesOnAfterErrorsAndSaysThemOnce) {
    std::atomic<int> calls = 0;
    auto subject = loop([&](const std::stop_token&) -> Result<std::uint64_t> {
        if (++calls <= 10) {
            return fail(ErrorCode::kUnavailable, "the server is gone");
        }
        return calls == 11 ? 1 : 0;
    });
    subject->start();
    EXPECT_TRUE(eventually([&] { return subject->stats().work == 1; }));
    EXPECT_TRUE(subject->stop(test::kPatience));
    EXPECT_EQ(subject->stats().errors, 10U);
    EXPECT_FALSE(subject->stats().failing);
    EXPECT_EQ(lines.count("the server is gone"), 1U);
    EXPECT_EQ(lines.count("loop.recovered"), 1U);
}

TEST_F(LoopTest, StopEndsALongWaitAtOnce) {
    auto subject = loop([](const std::stop_token&) -> Result<std::uint64_t> { return 0; });
    subject->start();
    EXPECT_TRUE(eventually([&] { return subject->stats().steps > 9; }));
    EXPECT_TRUE(subject->stop(test::kPatience)) << "the wait is up to an hour long";
}

TEST_F(LoopTest, StopSaysWhenAStepOutlivesItsGrace) {
    std::atomic<bool> entered = false;
    std::atomic<bool> release = false;
    auto subject = loop([&](const std::stop_token&) -> Result<std::uint64_t> {
        entered = true;
        release.wait(false);
        return 0;
    });
    subject->start();
    ASSERT_TRUE(eventually([&] { return entered.load(); }));
    EXPECT_EQ(subject->stop(1ms).error().code, ErrorCode::kTimeout);
    release = true;
    release.notify_all();
    EXPECT_TRUE(subject->stop(test::kPatience));
}

TEST_F(LoopTest, MayBeStartedAndStoppedFromSeveralThreadsAtOnce) {
    std::atomic<int> inside = 0;
    std::atomic<bool> overlapped = false;
    auto subject = loop([&](const std::stop_token&) -> Result<std::uint64_t> {
        overlapped = overlapped || ++inside > 1;
        --inside;
        return 1;
    });
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&] {
                for (int i = 0; i < 200; ++i) {
                    subject->start();
                    EXPECT_TRUE(subject->stop(test::kPatience));
                }
            });
        }
    }
    EXPECT_TRUE(subject->stop(test::kPatience));
    EXPECT_FALSE(overlapped);
}

TEST_F(LoopTest, MayBeStartedAndStoppedOverAndOver) {
    auto subject = loop([](const std::stop_token&) -> Result<std::uint64_t> { return 1; });
    for (int i = 0; i < 50; ++i) {
        subject->start();
        subject->start();
        EXPECT_TRUE(subject->stop(test::kPatience));
        EXPECT_TRUE(subject->stop(test::kPatience));
    }
}

}  // namespace
}  // namespace instep
