#include "row_json.hpp"

#include <gtest/gtest.h>

namespace instep::wal {
namespace {

ContractColumn column(std::string type, ValueKind kind = ValueKind::kText) {
    return {"c", std::move(type), kind, false, false};
}

TEST(RowJson, WritesNumbersAsTheyAre) {
    EXPECT_EQ(json_of(column("bigint", ValueKind::kInteger), "-7"), "-7");
    EXPECT_EQ(json_of(column("double precision", ValueKind::kReal), "1e+20"), "1e+20");
    EXPECT_EQ(json_of(column("double precision", ValueKind::kReal), "NaN"), R"({"real":"NaN"})");
    EXPECT_EQ(json_of(column("real", ValueKind::kReal), "-Infinity"), R"({"real":"-Infinity"})");
    EXPECT_EQ(json_of(column("numeric(10,2)", ValueKind::kDecimal), "1.10"), "\"1.10\"");
}

TEST(RowJson, WritesTruthAndBytes) {
    EXPECT_EQ(json_of(column("boolean", ValueKind::kBoolean), "t"), "true");
    EXPECT_EQ(json_of(column("boolean", ValueKind::kBoolean), "f"), "false");
    EXPECT_EQ(json_of(column("bytea", ValueKind::kBytes), "\\x00ff"), R"({"hex":"00FF"})");
}

TEST(RowJson, WritesTimesInIsoForm) {
    const auto local = column("timestamp without time zone");
    const auto zoned = column("timestamp(3) with time zone");
    EXPECT_EQ(json_of(local, "2024-01-02 03:04:05.5"), "\"2024-01-02T03:04:05.5\"");
    EXPECT_EQ(json_of(local, "0044-03-15 00:00:00 BC"), "\"0044-03-15T00:00:00 BC\"");
    EXPECT_EQ(json_of(zoned, "2024-01-02 03:04:05+00"), "\"2024-01-02T03:04:05+00:00\"");
    EXPECT_EQ(json_of(zoned, "0044-03-15 00:00:00+00 BC"), "\"0044-03-15T00:00:00+00:00 BC\"");
    EXPECT_EQ(json_of(zoned, "infinity"), "\"infinity\"");
    EXPECT_EQ(json_of(column("date"), "2024-01-02"), "\"2024-01-02\"");
}

TEST(RowJson, EscapesTexts) {
    EXPECT_EQ(json_of(column("text"), "a\"\\\n\x01ü"), "\"a\\\"\\\\\\n\\u0001ü\"");
}

TEST(RowJson, WritesKeysWithoutQuotes) {
    EXPECT_EQ(key_value(column("boolean", ValueKind::kBoolean), "t"), "1");
    EXPECT_EQ(key_value(column("bytea", ValueKind::kBytes), "\\x0aff"), "0AFF");
    EXPECT_EQ(key_value(column("text"), "a\"b"), "a\"b");
    EXPECT_EQ(key_value(column("timestamp with time zone"), "2024-01-02 03:04:05+00"),
              "2024-01-02T03:04:05+00:00");
}

}  // namespace
}  // namespace instep::wal
