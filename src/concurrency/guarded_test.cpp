#include "instep/concurrency/guarded.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace instep {
namespace {

TEST(GuardedTest, NoUpdateIsLostBetweenThreads) {
    Guarded<int> count(0);
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&] {
                for (int i = 0; i < 1000; ++i) {
                    ++*count.lock();
                }
            });
        }
    }
    EXPECT_EQ(count.copy(), 4000);
}

}  // namespace
}  // namespace instep
