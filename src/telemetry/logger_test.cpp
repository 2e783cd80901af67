#include "instep/telemetry/logger.hpp"

#include "tests/support/log_lines.hpp"
#include "tests/support/manual_clock.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <limits>
#include <type_traits>

namespace instep {
namespace {

using namespace std::string_view_literals;
using testing::ElementsAre;
using testing::EndsWith;

class LoggerTest : public testing::Test {
protected:
    [[nodiscard]] Logger logger(LogFormat format) {
        return {sink_, clock_, {.level = LogLevel::kInfo, .format = format}};
    }

    [[nodiscard]] nlohmann::json last_json() const {
        return nlohmann::json::parse(sink_.lines().back());
    }

    test::ManualClock clock_;
    test::LogLines sink_;
    Logger text_ = logger(LogFormat::kText);
    Logger json_ = logger(LogFormat::kJson);
};

TEST_F(LoggerTest, WritesLogfmt) {
    text_.info("relay.published", {{"topic", "iam.user"}, {"count", 12}, {"full", true}});
    EXPECT_THAT(sink_.lines(), ElementsAre("time=2026-03-01T09:30:00.000000Z level=info "
                                           "message=relay.published topic=iam.user count=12 "
                                           "full=true"));
}

TEST_F(LoggerTest, WritesAJsonObjectALine) {
    json_.warn("relay.published", {{"topic", "iam.user"}, {"count", 12}, {"full", false}});
    EXPECT_THAT(sink_.lines(),
                ElementsAre(R"({"time":"2026-03-01T09:30:00.000000Z","level":"warn",)"
                            R"("message":"relay.published","topic":"iam.user","count":12,)"
                            R"("full":false})"));
}

TEST_F(LoggerTest, LeavesOutWhatIsBelowItsLevel) {
    text_.debug("relay.read");
    EXPECT_TRUE(sink_.lines().empty());
    EXPECT_FALSE(text_.writes(LogLevel::kDebug));
    text_.error("relay.failed");
    EXPECT_EQ(sink_.lines().size(), 1U);
}

TEST_F(LoggerTest, AddsTheContextOfItsAncestorsToEveryLine) {
    const Logger child = json_.with({{"service", "iam"}}).with({{"trace_id", "abc"}, {"n", 1}});
    child.info("one", {{"x", 2}});
    EXPECT_THAT(sink_.lines().back(),
                EndsWith(R"("message":"one","service":"iam","trace_id":"abc","n":1,"x":2})"));
    json_.info("two");
    EXPECT_THAT(sink_.lines().back(), EndsWith(R"("message":"two"})"));
    text_.with({{"service", "iam"}}).info("three", {{"x", 2}});
    EXPECT_THAT(sink_.lines().back(), EndsWith("message=three service=iam x=2"));
}

TEST_F(LoggerTest, QuotesTextThatWouldBreakALine) {
    text_.info("x", {{"a", "two words"}, {"b", ""}, {"c", "k=v"}, {"d", "q\"\\\n"}, {"e", "ä"}});
    EXPECT_THAT(sink_.lines().back(), EndsWith(R"(a="two words" b="" c="k=v" d="q\"\\\n" e=ä)"));
}

TEST_F(LoggerTest, StaysReadableWhateverTheValue) {
    json_.info("x", {{"broken", "a\xFF\0z"sv},
                     {"long", std::string(2 * kLogTextBytesMax, 'x')},
                     {"cut", std::string(kLogTextBytesMax - 1, 'x') + "ä"}});
    const nlohmann::json line = last_json();
    EXPECT_EQ(line.at("broken"), "a?\0z"sv);
    EXPECT_EQ(line.at("long"), std::string(kLogTextBytesMax, 'x') + "…");
    EXPECT_EQ(line.at("cut"), std::string(kLogTextBytesMax - 1, 'x') + "…");
}

TEST_F(LoggerTest, WritesEveryKindOfNumber) {
    json_.info("x", {{"least", std::numeric_limits<std::int64_t>::min()},
                     {"most", std::numeric_limits<std::uint64_t>::max()},
                     {"size", sizeof(int)},
                     {"part", 0.25},
                     {"none", std::numeric_limits<double>::quiet_NaN()}});
    const nlohmann::json line = last_json();
    EXPECT_EQ(line.at("least"), std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(line.at("most"), std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(line.at("part"), 0.25);
    EXPECT_TRUE(line.contains("none"));
}

TEST(LogField, TakesNoPointersAndNoObjects) {
    struct Secret {};
    static_assert(std::is_constructible_v<LogField, std::string_view, std::string>);
    static_assert(std::is_constructible_v<LogField, std::string_view, bool>);
    static_assert(!std::is_constructible_v<LogField, std::string_view, void*>);
    static_assert(!std::is_constructible_v<LogField, std::string_view, std::nullptr_t>);
    static_assert(!std::is_constructible_v<LogField, std::string_view, Secret>);
}

TEST(LogLevel, ReadsBackEveryName) {
    for (const LogLevel level :
         {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn, LogLevel::kError}) {
        EXPECT_EQ(parse_log_level(to_string(level)), level);
    }
    EXPECT_EQ(parse_log_level("warning").error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace instep
