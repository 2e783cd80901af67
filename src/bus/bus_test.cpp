#include "instep/bus/bus.hpp"

#include "instep/telemetry/logger.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/log_lines.hpp"
#include "tests/support/manual_clock.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <optional>
#include <stdexcept>
#include <thread>

namespace instep {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

struct UserRegistered {
    std::string name;
};

struct UserDeleted {
    std::string name;
};

class BusTest : public testing::Test {
protected:
    /// A listener that notes what it gets.
    [[nodiscard]] Listening note(Bus& bus, std::string name) {
        return bus.listen<UserRegistered>(name, [this, name](const UserRegistered& user) {
            heard.push_back(name + " " + user.name);
        });
    }

    test::ManualClock clock;
    test::LogLines lines;
    Logger logger{lines, clock};
    std::vector<std::string> heard;
};

TEST_F(BusTest, CallsEveryListenerOfTheTypeInTheirOrder) {
    Bus bus(logger);
    const Listening first = note(bus, "first");
    const Listening second = note(bus, "second");
    EXPECT_THAT(bus.publish(UserRegistered{"ada"}), IsEmpty());
    bus.publish(UserDeleted{"ada"});
    EXPECT_THAT(heard, ElementsAre("first ada", "second ada"));
}

TEST_F(BusTest, AListenerThatThrowsKeepsNoOtherFromTheEvent) {
    Bus bus(logger);
    const Listening fails = bus.listen<UserRegistered>(
        "mails", [](const UserRegistered&) { throw std::runtime_error("no mail server"); });
    const Listening odd = bus.listen<UserRegistered>("odd", [](const UserRegistered&) { throw 7; });
    const Listening works = note(bus, "audit");
    const auto failures = bus.publish(UserRegistered{"ada"});
    EXPECT_THAT(heard, ElementsAre("audit ada"));
    ASSERT_THAT(failures, SizeIs(2));
    EXPECT_EQ(failures[0].listener, "mails");
    EXPECT_EQ(failures[0].reason, "it threw: no mail server");
    EXPECT_EQ(lines.count("bus.listener_failed"), 2U);
}

TEST_F(BusTest, AListenerIsCalledAsLongAsItsScopeLasts) {
    Bus bus(logger);
    {
        const Listening scoped = note(bus, "scoped");
        bus.publish(UserRegistered{"ada"});
    }
    bus.publish(UserRegistered{"bob"});
    EXPECT_THAT(heard, ElementsAre("scoped ada"));
}

TEST_F(BusTest, AListeningMovesWithItsOwner) {
    Bus bus(logger);
    Listening kept;
    kept = note(bus, "first");
    bus.publish(UserRegistered{"ada"});
    kept = note(bus, "second");
    bus.publish(UserRegistered{"bob"});
    kept.end();
    kept.end();
    bus.publish(UserRegistered{"eve"});
    EXPECT_THAT(heard, ElementsAre("first ada", "second bob"));
}

TEST_F(BusTest, AListeningMayOutliveItsBus) {
    std::optional<Listening> listening;
    {
        Bus bus(logger);
        listening = note(bus, "late");
    }
    listening.reset();
}

TEST_F(BusTest, AListenerMayEndItselfAndAddOthers) {
    Bus bus(logger);
    Listening once;
    Listening added;
    once = bus.listen<UserRegistered>("once", [&](const UserRegistered& user) {
        heard.push_back("once " + user.name);
        added = note(bus, "added");
        once.end();
    });
    bus.publish(UserRegistered{"ada"});
    EXPECT_THAT(heard, ElementsAre("once ada")) << "who comes during an event gets the next";
    bus.publish(UserRegistered{"bob"});
    EXPECT_THAT(heard, ElementsAre("once ada", "added bob"));
}

TEST_F(BusTest, EndingWaitsForTheCallUnderWay) {
    Bus bus(logger);
    std::latch entered(1);
    std::latch may_leave(1);
    std::atomic<bool> left = false;
    Listening slow = bus.listen<UserRegistered>("slow", [&](const UserRegistered&) {
        entered.count_down();
        may_leave.wait();
        left = true;
    });
    std::jthread publishes([&] { bus.publish(UserRegistered{"ada"}); });
    entered.wait();
    std::atomic<bool> ended = false;
    std::jthread ends([&] {
        slow.end();
        EXPECT_TRUE(left);
        ended = true;
    });
    EXPECT_FALSE(ended);
    may_leave.count_down();
    ends.join();
    EXPECT_TRUE(ended);
}

TEST_F(BusTest, TooManyListenersAreToldOfOnce) {
    Bus bus(logger, {.listeners_expected = 2});
    std::vector<Listening> all;
    for (int i = 0; i < 5; ++i) {
        all.push_back(note(bus, "listener"));
    }
    EXPECT_EQ(lines.count("bus.many_listeners"), 1U);
}

TEST_F(BusTest, PostReturnsAtOnceAndKeepsTheOrder) {
    Bus bus(logger);
    std::latch may_go_on(1);
    const Listening slow =
        bus.listen<UserRegistered>("slow", [&](const UserRegistered&) { may_go_on.wait(); });
    const Listening notes = note(bus, "n");
    ASSERT_TRUE(bus.post(UserRegistered{"ada"}));
    ASSERT_TRUE(bus.post(UserRegistered{"bob"}));
    EXPECT_EQ(bus.drain(0ms).error().code, ErrorCode::kTimeout);
    may_go_on.count_down();
    ASSERT_TRUE(bus.drain(test::kPatience));
    EXPECT_THAT(heard, ElementsAre("n ada", "n bob"));
}

TEST_F(BusTest, RefusesAPostWhereTooManyWait) {
    Bus bus(logger, {.posted_max = 1});
    std::latch entered(1);
    std::latch may_go_on(1);
    const Listening slow = bus.listen<UserRegistered>("slow", [&](const UserRegistered& user) {
        if (user.name == "ada") {
            entered.count_down();
            may_go_on.wait();
        }
    });
    ASSERT_TRUE(bus.post(UserRegistered{"ada"}));
    entered.wait();
    ASSERT_TRUE(bus.post(UserRegistered{"bob"}));
    EXPECT_EQ(bus.post(UserRegistered{"eve"}).error().code, ErrorCode::kLimitExceeded);
    may_go_on.count_down();
}

TEST_F(BusTest, HandsOutWhatWaitsBeforeItEnds) {
    auto bus = std::make_unique<Bus>(logger);
    const Listening notes = note(*bus, "n");
    for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(bus->post(UserRegistered{"ada"}));
    }
    bus.reset();
    EXPECT_THAT(heard, SizeIs(100));
}

TEST_F(BusTest, ManyThreadsMayUseItAtOnce) {
    constexpr int kThreads = 4;
    constexpr int kRounds = 300;
    Bus bus(logger);
    std::atomic<int> calls = 0;
    const Listening counts =
        bus.listen<UserRegistered>("counts", [&](const UserRegistered&) { ++calls; });
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < kThreads; ++i) {
            threads.emplace_back([&] {
                for (int round = 0; round < kRounds; ++round) {
                    std::atomic<bool> is_over = false;
                    Listening own = bus.listen<UserRegistered>("own", [&](const UserRegistered&) {
                        EXPECT_FALSE(is_over) << "called after its end";
                    });
                    bus.publish(UserRegistered{"ada"});
                    EXPECT_TRUE(bus.post(UserRegistered{"bob"}));
                    own.end();
                    is_over = true;
                }
            });
        }
    }
    ASSERT_TRUE(bus.drain(test::kPatience));
    EXPECT_EQ(calls, 2 * kThreads * kRounds);
}

}  // namespace
}  // namespace instep
