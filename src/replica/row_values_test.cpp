#include "row_values.hpp"

#include "instep/base/random.hpp"
#include "json_rows.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace instep {
namespace {

TEST(RowValuesTest, EveryValueSurvivesJson) {
    const double infinity = std::numeric_limits<double>::infinity();
    const Row row = {kNull,
                     std::numeric_limits<std::int64_t>::min(),
                     std::numeric_limits<std::int64_t>::max(),
                     0.1 + 0.2,
                     -0.0,
                     5e-324,
                     infinity,
                     -infinity,
                     std::string_view("quote \" \\ \n é 𝄞"),
                     std::string_view(),
                     BlobView{std::string_view("\x00\xFF\x10", 3)},
                     BlobView{}};
    JsonRows json;
    ValueArena arena;
    const auto read = json.read_array(to_json_array(row), arena);
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, row);
}

TEST(RowValuesTest, AKeyOfOneColumnIsItsText) {
    EXPECT_EQ(key_text(Row{std::int64_t{42}}), "42");
    EXPECT_EQ(key_text(Row{std::string_view("a\"b")}), "a\"b");
    EXPECT_EQ(key_text(Row{BlobView{"\xAB"}}), "AB");
}

TEST(RowValuesTest, CompositeKeysThatDifferHaveTextsThatDiffer) {
    const Row a = {std::string_view("1,2"), std::string_view("3")};
    const Row b = {std::string_view("1"), std::string_view("2,3")};
    EXPECT_NE(key_text(a), key_text(b));
    EXPECT_EQ(key_text(Row{std::int64_t{1}, std::string_view("x")}), "[1,\"x\"]");
}

TEST(RowSetHashTest, DoesNotDependOnTheOrderOfRows) {
    const Row a = {std::int64_t{1}, std::string_view("x")};
    const Row b = {std::int64_t{2}, std::string_view("y")};
    RowSetHash forward;
    RowSetHash backward;
    forward.add(a);
    forward.add(b);
    backward.add(b);
    backward.add(a);
    EXPECT_EQ(forward.hex(), backward.hex());
    EXPECT_EQ(forward.rows(), 2U);
}

TEST(RowSetHashTest, TellsApartWhatOnlyLooksAlike) {
    const auto hash = [](const Row& row) {
        RowSetHash set;
        set.add(row);
        return set.hex();
    };
    EXPECT_NE(hash({std::string_view("ab"), std::string_view("c")}),
              hash({std::string_view("a"), std::string_view("bc")}));
    EXPECT_NE(hash({kNull}), hash({std::string_view()}));
    EXPECT_NE(hash({std::string_view("1")}), hash({std::int64_t{1}}));
    EXPECT_NE(hash({std::string_view("x")}), hash({BlobView{"x"}}));
}

TEST(RowSetHashTest, AWholeRealIsItsInteger) {
    const auto hash = [](const Row& row) {
        RowSetHash set;
        set.add(row);
        return set.hex();
    };
    EXPECT_EQ(hash({5.0}), hash({std::int64_t{5}}));
    EXPECT_EQ(hash({-0.0}), hash({0.0}));
    EXPECT_NE(hash({5.5}), hash({std::int64_t{5}}));
}

TEST(RowSetHashTest, TheSameRowTwiceIsNotNoRow) {
    const Row row = {std::int64_t{1}};
    RowSetHash twice;
    twice.add(row);
    twice.add(row);
    EXPECT_NE(twice.hex(), RowSetHash().hex());
}

TEST(JsonRowsTest, ReadsColumnsInAnyOrderAndSaysWhichAreMissing) {
    JsonRows json;
    ValueArena arena;
    Row row;
    std::vector<bool> present;
    const std::vector<std::string> columns = {"a", "b", "c"};
    ASSERT_TRUE(json.read_object(R"({"c":3,"x":[1],"a":"one"})", columns, arena, row, present));
    EXPECT_EQ(present, (std::vector<bool>{true, false, true}));
    EXPECT_EQ(row[2], ValueView(std::int64_t{3}));
}

TEST(JsonRowsTest, ReadsNumbersOfAnyLength) {
    JsonRows json;
    ValueArena arena;
    Row row;
    std::vector<bool> present;
    const std::vector<std::string> columns = {"a", "b", "c", "d", "e"};
    ASSERT_TRUE(
        json.read_object(R"({"a":1.98000000000000020428e+00,"b":-9223372036854775808,)"
                         R"("c":1e2,"d":3.00000000000000044409e-01,"e":9223372036854775808})",
                         columns, arena, row, present));
    EXPECT_EQ(row, (Row{1.9800000000000002, std::numeric_limits<std::int64_t>::min(), 100.0,
                        0.30000000000000004, 9223372036854775808.0}));
}

TEST(JsonRowsTest, RefusesWhatIsNoRow) {
    JsonRows json;
    ValueArena arena;
    Row row;
    std::vector<bool> present;
    const std::vector<std::string> columns = {"a"};
    for (const char* text : {"", "null", "[1]", "{\"a\":[1]}", "{\"a\":{\"hex\":\"0\"}}",
                             "{\"a\":", "{\"a\":\"\xFF\"}", "{\"a\":1e999999}"}) {
        const auto read = json.read_object(text, columns, arena, row, present);
        EXPECT_FALSE(read) << text;
    }
}

}  // namespace
}  // namespace instep
