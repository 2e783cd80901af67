#include "instep/base/clock.hpp"

#include "instep/base/random.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;
using std::chrono::sys_days;

constexpr Timestamp kMorning = sys_days{std::chrono::March / 1 / 2026} + 9h + 30min;

TEST(FormatTime, WritesUtcWithSixDecimals) {
    EXPECT_EQ(format_time(kMorning), "2026-03-01T09:30:00.000000Z");
    EXPECT_EQ(format_time(kMorning + 7us), "2026-03-01T09:30:00.000007Z");
    EXPECT_EQ(format_time(Timestamp{} - 1us), "1969-12-31T23:59:59.999999Z");
}

TEST(ParseTime, ReadsBackWhateverFormatTimeWrote) {
    SeededRandom random(1);
    const Timestamp first = sys_days{std::chrono::January / 1 / 0};
    const Timestamp last = sys_days{std::chrono::January / 1 / 10000} - 1us;
    const auto range = static_cast<std::uint64_t>((last - first).count());
    for (int i = 0; i < 1000; ++i) {
        const Timestamp time = first + std::chrono::microseconds(random.below(range));
        EXPECT_EQ(parse_time(format_time(time)).value(), time);
    }
    EXPECT_EQ(parse_time(format_time(first)).value(), first);
    EXPECT_EQ(parse_time(format_time(last)).value(), last);
}

TEST(ParseTime, TakesTheOffsetOff) {
    EXPECT_EQ(parse_time("2026-03-01T11:30:00+02:00").value(), kMorning);
    EXPECT_EQ(parse_time("2026-03-01T04:00:00-05:30").value(), kMorning);
}

TEST(ParseTime, ReadsNoneToNineDecimalsAndCutsBehindTheSixth) {
    EXPECT_EQ(parse_time("2026-03-01T09:30:00Z").value(), kMorning);
    EXPECT_EQ(parse_time("2026-03-01t09:30:00.5z").value(), kMorning + 500ms);
    EXPECT_EQ(parse_time("2026-03-01 09:30:00.123456789Z").value(), kMorning + 123456us);
}

TEST(ParseTime, RefusesWhatIsNoTime) {
    for (const std::string_view text :
         {"", "2026", "2026-03-01", "2026-03-01T09:30:00", "2026-02-30T09:30:00Z",
          "2026-13-01T09:30:00Z", "2026-00-01T09:30:00Z", "2026-03-01T24:00:00Z",
          "2026-03-01T09:60:00Z", "2026-03-01T09:30:61Z", "2026-03-01T09:30:00.Z",
          "2026-03-01T09:30:00.1234567890Z", "2026-03-01T09:30:00Z ", "-026-03-01T09:30:00Z",
          "2026-03-01T09:30:00+24:00", "2026-03-01T09:30:00+02:60", "2026-03-01T09:30:00+0200",
          "2026-3-1T09:30:00Z", "+2026-03-01T09:30:00Z"}) {
        EXPECT_EQ(parse_time(text).error().code, ErrorCode::kInvalidArgument) << text;
    }
}

TEST(ParseTime, RefusesYearsThatCannotBeWrittenAgain) {
    EXPECT_FALSE(parse_time("9999-12-31T23:59:59-00:01"));
    EXPECT_FALSE(parse_time("0000-01-01T00:00:00+00:01"));
}

TEST(SystemClock, NeverGoesBack) {
    const SystemClock clock;
    auto before = clock.monotonic();
    for (int i = 0; i < 1000; ++i) {
        const auto after = clock.monotonic();
        ASSERT_GE(after, before);
        before = after;
    }
    EXPECT_GT(clock.now(), sys_days{std::chrono::January / 1 / 2025});
}

}  // namespace
}  // namespace instep
