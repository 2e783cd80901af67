#include "instep/base/fail_point.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <unistd.h>

namespace instep {
namespace {

/// Ends the process with the number of errors among `passes` of the relay's first point. The
/// setting is read once a process, so every case runs in a child of its own.
[[noreturn]] void pass(const char* setting, int passes) {
    setenv("INSTEP_FAIL", setting, 1);
    int errors = 0;
    for (int i = 0; i < passes; ++i) {
        errors += reach_fail_point("relay.after_read") ? 0 : 1;
    }
    _exit(errors);
}

TEST(FailPointDeathTest, DoesNothingUnlessItIsNamed) {
    EXPECT_EXIT(pass("", 3), testing::ExitedWithCode(0), "");
    EXPECT_EXIT(pass("relay.after_publish=crash", 3), testing::ExitedWithCode(0), "");
}

TEST(FailPointDeathTest, CrashesAsKillDoes) {
    EXPECT_EXIT(pass("relay.after_read=crash", 1), testing::ExitedWithCode(137), "");
}

TEST(FailPointDeathTest, ActsAtTheNamedPassOnly) {
    EXPECT_EXIT(pass("relay.after_read=error@3", 2), testing::ExitedWithCode(0), "");
    EXPECT_EXIT(pass("relay.after_read=error@3", 9), testing::ExitedWithCode(1), "");
    EXPECT_EXIT(pass("log.after_append=crash,relay.after_read=error", 9),
                testing::ExitedWithCode(1), "");
}

TEST(FailPointDeathTest, RefusesAMistakeLoudly) {
    for (const char* setting :
         {"relay.after_read", "relay.after_read=boom", "relay.after_reed=crash",
          "relay.after_read=error@0", "relay.after_read=error@x", "relay.after_read=error@",
          "relay.after_read=error,relay.after_read=crash"}) {
        EXPECT_DEATH(pass(setting, 1), "INSTEP_FAIL") << setting;
    }
}

TEST(FailPoint, HasNoNameTwice) {
    const auto names = fail_point_names();
    EXPECT_EQ(std::set(names.begin(), names.end()).size(), names.size());
}

}  // namespace
}  // namespace instep
