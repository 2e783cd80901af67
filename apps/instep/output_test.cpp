#include "output.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace instep::cli {
namespace {

TEST(JsonObjectTest, WritesEveryKindOfMember) {
    const std::vector<JsonObject> list = {JsonObject().flag("a", true), JsonObject().null("b")};
    const std::vector<std::string> names = {"x", "y\""};
    EXPECT_EQ(JsonObject("instep.test/1")
                  .text("text", "ä\n")
                  .real("real", 1.5)
                  .object("inner", JsonObject())
                  .objects("list", list)
                  .texts("names", names)
                  .str(),
              R"({"schema":"instep.test/1","text":"ä\n","real":1.5,"inner":{},)"
              R"("list":[{"a":true},{"b":null}],"names":["x","y\""]})");
}

TEST(JsonObjectTest, NumbersOf64BitsAreStrings) {
    EXPECT_EQ(JsonObject().number("n", std::numeric_limits<std::uint64_t>::max()).str(),
              R"({"n":"18446744073709551615"})");
}

TEST(JsonObjectTest, IsUtf8WhateverItIsGiven) {
    EXPECT_EQ(JsonObject().text("t", "a\xFF\xC3z").str(), "{\"t\":\"a\xEF\xBF\xBD\xEF\xBF\xBDz\"}");
}

TEST(TableTest, AlignsColumnsByCharacters) {
    Table table({{"NAME"}, {"N", Table::Align::kRight}});
    table.add_row({"Zoë", "1"});
    table.add_row({"a", "1,000"});
    EXPECT_EQ(table.str(),
              "NAME      N\n"
              "Zoë       1\n"
              "a     1,000\n");
}

TEST(TableTest, LeavesNoSpaceAtTheEndOfALine) {
    Table table({{"A"}, {"B"}});
    table.add_row({"long", ""});
    EXPECT_EQ(table.str(), "A     B\nlong\n");
}

TEST(PrintableTest, KeepsWhatPeopleRead) { EXPECT_EQ(printable("Zoë 😀"), "Zoë 😀"); }

TEST(PrintableTest, EscapesWhatATerminalWouldObey) {
    EXPECT_EQ(printable("a\x1B[2J\n\x7F"), "a\\x1b[2J\\x0a\\x7f");
    EXPECT_EQ(printable("\xC2\x9B"), "\\x9b");
    EXPECT_EQ(printable("\xFFz"), "\\xffz");
}

TEST(GroupedTest, SetsThousandsApart) {
    EXPECT_EQ(grouped(0), "0");
    EXPECT_EQ(grouped(999), "999");
    EXPECT_EQ(grouped(1204), "1,204");
    EXPECT_EQ(grouped(1234567), "1,234,567");
}

TEST(CountedTest, KnowsOneFromMany) {
    EXPECT_EQ(counted(1, "row"), "1 row");
    EXPECT_EQ(counted(0, "row"), "0 rows");
}

TEST(RoundedTest, ShowsTheUnitThatMatters) {
    using namespace std::chrono_literals;
    EXPECT_EQ(rounded(320ms), "0.3 s");
    EXPECT_EQ(rounded(12s), "12 s");
    EXPECT_EQ(rounded(240s), "4 min");
    EXPECT_EQ(rounded(3h), "3 h");
    EXPECT_EQ(rounded(50h), "2 d");
    EXPECT_EQ(rounded(-1s), "0.0 s");
}

}  // namespace
}  // namespace instep::cli
