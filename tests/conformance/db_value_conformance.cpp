#include "tests/conformance/db_conformance.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

namespace instep::test {

namespace {

using ::testing::ElementsAre;

/// Writes the value into a column of the type and reads it back.
Value round_trip(Connection& connection, std::string_view type, const ValueView& value) {
    connection.execute_script("CREATE TABLE kept (value " + std::string(type) + ")").value();
    auto transaction = Transaction::begin(connection, TransactionMode::kWrite).value();
    const ValueView parameter[] = {value};
    transaction.execute("INSERT INTO kept (value) VALUES ($1)", parameter).value();
    const auto rows = transaction.query("SELECT value FROM kept").value();
    EXPECT_TRUE(rows->next().value());
    Value kept = own(rows->at(0));
    EXPECT_FALSE(rows->next().value());
    return kept;
}

}  // namespace

TEST_P(DbConformance, KeepsTheSmallestAndTheLargestInteger) {
    given("CREATE TABLE number (value BIGINT)");
    constexpr std::int64_t kNumbers[] = {std::numeric_limits<std::int64_t>::min(), -1, 0, 1,
                                         std::numeric_limits<std::int64_t>::max()};
    auto transaction = begin(connection(), TransactionMode::kWrite);
    for (const std::int64_t number : kNumbers) {
        transaction.execute("INSERT INTO number (value) VALUES ($1)", {number}).value();
    }

    EXPECT_THAT(integers(transaction, "SELECT value FROM number ORDER BY value"),
                ::testing::ElementsAreArray(kNumbers));
}

TEST_P(DbConformance, KeepsEveryBitOfAReal) {
    using Limits = std::numeric_limits<double>;
    given("CREATE TABLE number (id BIGINT, value DOUBLE PRECISION)");
    constexpr double kNumbers[] = {0.1,
                                   1.0 / 3.0,
                                   1e15 + 0.3,
                                   3.0,
                                   Limits::max(),
                                   Limits::lowest(),
                                   Limits::min(),
                                   Limits::denorm_min(),
                                   Limits::infinity(),
                                   -Limits::infinity()};
    auto transaction = begin(connection(), TransactionMode::kWrite);
    for (const double number : kNumbers) {
        transaction.execute("INSERT INTO number (id, value) VALUES (1, $1)", {number}).value();
        const auto rows = transaction.query("SELECT value FROM number").value();
        ASSERT_TRUE(rows->next().value());
        EXPECT_EQ(own(rows->at(0)), Value(number));
        transaction.execute("DELETE FROM number").value();
    }
}

TEST_P(DbConformance, KeepsTheSignOfZeroWhereItSaysSo) {
    const Value kept = round_trip(connection(), "DOUBLE PRECISION", -0.0);

    ASSERT_EQ(kept, Value(0.0));
    EXPECT_EQ(std::signbit(std::get<double>(kept)), backend().keeps_negative_zero());
}

TEST_P(DbConformance, KeepsTextOfAnyScript) {
    const std::string_view text = "Zoë 测试 🙂 'single' \"double\" \\ \n\t; -- $1";

    EXPECT_EQ(round_trip(connection(), "TEXT", text), Value(std::string(text)));
}

TEST_P(DbConformance, KeepsEmptyTextApartFromNull) {
    given("CREATE TABLE word (id BIGINT, value TEXT)");
    auto transaction = begin(connection(), TransactionMode::kWrite);
    transaction.execute("INSERT INTO word VALUES (1, $1)", {std::string_view()}).value();
    transaction.execute("INSERT INTO word VALUES (2, $1)", {kNull}).value();

    const auto rows = transaction.query("SELECT value FROM word ORDER BY id").value();
    ASSERT_TRUE(rows->next().value());
    EXPECT_EQ(own(rows->at(0)), Value(std::string()));
    EXPECT_FALSE(rows->is_null(0));
    ASSERT_TRUE(rows->next().value());
    EXPECT_EQ(own(rows->at(0)), Value(kNull));
    EXPECT_TRUE(rows->is_null(0));
}

TEST_P(DbConformance, KeepsAZeroByteInTextOrRefusesIt) {
    const std::string_view text("a\0b\0", 4);
    if (!backend().text_holds_zero()) {
        auto transaction = begin(connection(), TransactionMode::kWrite);
        const auto refused = transaction.query("SELECT CAST($1 AS TEXT)", {text});
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kRejected);
        return;
    }

    EXPECT_EQ(round_trip(connection(), "TEXT", text), Value(std::string(text)));
}

TEST_P(DbConformance, KeepsEveryByteOfABlob) {
    std::string bytes;
    for (int byte = 0; byte < 256; ++byte) {
        bytes += static_cast<char>(byte);
    }

    EXPECT_EQ(round_trip(connection(), connection().dialect().column_type(ValueKind::kBytes),
                         BlobView{bytes}),
              Value(Blob{bytes}));
}

TEST_P(DbConformance, KeepsAnEmptyBlobApartFromNull) {
    EXPECT_EQ(
        round_trip(connection(), connection().dialect().column_type(ValueKind::kBytes), BlobView{}),
        Value(Blob{}));
}

TEST_P(DbConformance, KeepsAMegabyte) {
    const std::string text(1 << 20, 'x');

    EXPECT_TRUE(round_trip(connection(), "TEXT", std::string_view(text)) == Value(text));
}

TEST_P(DbConformance, ReadsNullAsNothingThroughTypedAccess) {
    given_items(1);
    auto transaction = begin(connection(), TransactionMode::kRead);
    const auto rows = transaction.query("SELECT NULL FROM item").value();
    ASSERT_TRUE(rows->next().value());

    EXPECT_EQ(rows->integer(0), 0);
    EXPECT_EQ(rows->text(0), "");
    EXPECT_EQ(rows->blob(0), "");
}

TEST_P(DbConformance, TakesParametersInAnyOrderAndMoreThanOnce) {
    given_items(0);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    transaction
        .execute("INSERT INTO item (name, id) VALUES ($2, $1)",
                 {std::int64_t{7}, std::string_view("seven")})
        .value();

    const auto rows =
        transaction
            .query("SELECT id FROM item WHERE name = $2 AND id = $1 AND id >= $1 AND name <= $2",
                   {std::int64_t{7}, std::string_view("seven")})
            .value();
    ASSERT_TRUE(rows->next().value());
    EXPECT_EQ(rows->integer(0), 7);
}

TEST_P(DbConformance, CopiesTheParametersOfAQuery) {
    given_items(3);
    auto transaction = begin(connection(), TransactionMode::kRead);
    std::string name = "item 1";
    const auto rows =
        transaction
            .query("SELECT id FROM item WHERE name >= $1 ORDER BY id", {std::string_view(name)})
            .value();
    ASSERT_TRUE(rows->next().value());
    name = "item 9";

    EXPECT_TRUE(rows->next().value());
    EXPECT_TRUE(rows->next().value());
    EXPECT_FALSE(rows->next().value());
}

TEST_P(DbConformance, OrdersTextByItsBytesOnRequest) {
    given("CREATE TABLE word (value TEXT)");
    auto transaction = begin(connection(), TransactionMode::kWrite);
    for (const std::string_view word : {"a", "B", "ä", "Z", "_"}) {
        transaction.execute("INSERT INTO word VALUES ($1)", {word}).value();
    }

    std::vector<std::string> words;
    const std::string order = connection().dialect().key_order("value", ValueKind::kText, "text");
    const auto rows = transaction.query("SELECT value FROM word ORDER BY " + order).value();
    while (rows->next().value()) {
        words.emplace_back(rows->text(0));
    }
    EXPECT_THAT(words, ElementsAre("B", "Z", "_", "a", "ä"));
}

TEST_P(DbConformance, CopiesRowsExactlyOrSaysThatItCannot) {
    if (!connection().dialect().binds_arrays()) {
        given_items(0);
        auto transaction = begin(connection(), TransactionMode::kWrite);
        EXPECT_EQ(transaction.copy_rows("item", "id, name", {2, {}}).error().code,
                  ErrorCode::kUnsupported);
        return;
    }
    given("CREATE TABLE kept (id bigint, text text, bytes bytea, real double precision)");
    const std::string text = "tab\tline\nreturn\rback\\slash \\N zo\u00eb";
    const std::string bytes("\\x\0\xff\n", 5);
    const ValueView rows[] = {
        std::int64_t{-1}, std::string_view(text),  BlobView{bytes}, 0.1,
        std::int64_t{2},  std::string_view("\\N"), ValueView{},     -1e300,
        std::int64_t{3},  std::string_view(""),    BlobView{""},    ValueView{}};
    auto transaction = begin(connection(), TransactionMode::kWrite);
    const auto copied = transaction.copy_rows("kept", "id, text, bytes, real", {4, rows});
    ASSERT_TRUE(copied) << copied.error().message;
    const auto read =
        transaction.query("SELECT id, text, bytes, real FROM kept ORDER BY id").value();
    for (std::size_t at = 0; at < std::size(rows); ++at) {
        ASSERT_TRUE(at % 4 != 0 || read->next().value());
        EXPECT_EQ(own(read->at(at % 4)), own(rows[at])) << at;
    }
}

TEST_P(DbConformance, KeepsNothingOfACopyThatFails) {
    if (!connection().dialect().binds_arrays()) {
        return;
    }
    given_items(1);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    ASSERT_TRUE(transaction.set_savepoint());
    const ValueView twice[] = {std::int64_t{2}, std::string_view("a"), std::int64_t{1},
                               std::string_view("b")};
    EXPECT_EQ(transaction.copy_rows("item", "id, name", {2, twice}).error().code,
              ErrorCode::kRejected);
    ASSERT_TRUE(transaction.rollback_to_savepoint());
    const std::string zero("a\0b", 3);
    const ValueView zeroes[] = {std::int64_t{2}, std::string_view(zero)};
    EXPECT_EQ(transaction.copy_rows("item", "id, name", {2, zeroes}).error().code,
              ErrorCode::kRejected);
    ASSERT_TRUE(transaction.commit());
    EXPECT_THAT(items(connection()), ElementsAre(1));
}

}  // namespace instep::test
