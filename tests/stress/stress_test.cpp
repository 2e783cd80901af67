#include "tests/stress/stress.hpp"

#include <gtest/gtest.h>

namespace instep::stress {
namespace {

using namespace std::chrono_literals;

void expect_no_row_wrong(CaptureBy capture) {
    StressResult all;
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        StressOptions options;
        options.seed = seed;
        options.capture = capture;
        const StressResult result = run_stress(options);
        EXPECT_TRUE(result.is_clean()) << to_text(result);
        all.backfills += result.backfills;
        all.verifications += result.verifications;
        all.disturbances += result.disturbances;
    }
    EXPECT_GT(all.backfills, 4U);
    EXPECT_GT(all.verifications, 4U);
    EXPECT_GT(all.disturbances, 20U);
}

TEST(Stress, LeavesNoRowWrong) { expect_no_row_wrong(CaptureBy::kTriggers); }

TEST(Stress, LeavesNoRowWrongWithTheWriteAheadLog) { expect_no_row_wrong(CaptureBy::kWal); }

/// Runs until the reader is found out.
std::uint64_t wrong_rows_with(BadReader reader) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        StressOptions options;
        options.time = 3s;
        options.seed = seed;
        options.bad_reader = reader;
        const StressResult result = run_stress(options);
        EXPECT_EQ(result.problem, "");
        if (result.wrong() > 0) {
            return result.wrong();
        }
    }
    return 0;
}

TEST(Stress, FindsOutAReaderThatGoesByNumbers) {
    EXPECT_GT(wrong_rows_with(BadReader::kSequence), 0U);
}

TEST(Stress, FindsOutAReaderThatGoesByTransactionIds) {
    EXPECT_GT(wrong_rows_with(BadReader::kXminFence), 0U);
}

}  // namespace
}  // namespace instep::stress
