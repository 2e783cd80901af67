#include "instep/event/json_writer.hpp"

#include "instep/base/random.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <bit>
#include <cmath>
#include <limits>

namespace instep {
namespace {

using namespace std::string_view_literals;

std::string json_string(std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
}

template <class Number>
std::string json_number(Number value) {
    std::string out;
    append_json_number(out, value);
    return out;
}

TEST(JsonString, EscapesQuotesBackslashesAndControlCharactersOnly) {
    EXPECT_EQ(json_string("a\"b\\c/d"), R"("a\"b\\c/d")");
    EXPECT_EQ(json_string("\b\t\n\f\r\0\x1F\x7F"sv), "\"\\b\\t\\n\\f\\r\\u0000\\u001f\x7F\"");
    EXPECT_EQ(json_string("ä\xF0\x9F\x98\x80"), "\"ä\xF0\x9F\x98\x80\"");
}

TEST(JsonString, IsReadBackByAnotherParser) {
    std::string all;
    for (char c = 0; c < 127; ++c) {
        all.push_back(c);
        EXPECT_EQ(nlohmann::json::parse(json_string(all)).get<std::string>(), all);
    }
}

TEST(JsonString, AppendsBehindWhatIsThere) {
    std::string out = "{";
    append_json_string(out, "");
    EXPECT_EQ(out, "{\"\"");
}

TEST(JsonNumber, ReadsBackAsTheSameDouble) {
    SeededRandom random(1);
    for (int i = 0; i < 10'000; ++i) {
        const auto value = std::bit_cast<double>(random.next());
        if (std::isfinite(value)) {
            EXPECT_EQ(nlohmann::json::parse(json_number(value)).get<double>(), value);
        }
    }
    EXPECT_EQ(json_number(0.1), "0.1");
    EXPECT_EQ(json_number(-0.0), "-0.0");
    EXPECT_EQ(json_number(5.0), "5.0");
    EXPECT_EQ(json_number(std::numeric_limits<double>::denorm_min()), "5e-324");
}

TEST(JsonNumber, WritesWhatJsonLacksAsObjects) {
    const double infinity = std::numeric_limits<double>::infinity();
    EXPECT_EQ(json_number(infinity), R"({"real":"Infinity"})");
    EXPECT_EQ(json_number(-infinity), R"({"real":"-Infinity"})");
    EXPECT_EQ(json_number(std::nan("")), R"({"real":"NaN"})");
}

TEST(JsonNumber, WritesEveryIntegerExactly) {
    EXPECT_EQ(json_number(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
    EXPECT_EQ(json_number(std::int64_t{9007199254740993}), "9007199254740993");
}

}  // namespace
}  // namespace instep
