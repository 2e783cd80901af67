#include "tests/support/eventually.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace instep::test {
namespace {

TEST(EventuallyTest, SeesWhatAnotherThreadDoes) {
    std::atomic<bool> done = false;
    const std::jthread other([&] { done = true; });
    EXPECT_TRUE(eventually([&] { return done.load(); }));
}

TEST(EventuallyTest, GivesUpAtTheDeadline) {
    EXPECT_FALSE(eventually([] { return false; }, std::chrono::milliseconds(2)));
}

TEST(EventuallyTest, AsksAtLeastOnceHoweverShortTheDeadline) {
    EXPECT_TRUE(eventually([] { return true; }, std::chrono::milliseconds(0)));
}

}  // namespace
}  // namespace instep::test
