#include "tests/conformance/db_conformance.hpp"

#include <gmock/gmock.h>

#include <map>

namespace instep::test {

namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::string_view kUpsertNewer =
    "INSERT INTO item (id, name) VALUES ($1, $2) "
    "ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE item.name < excluded.name";

ErrorCode code(const auto& result) { return result.error().code; }

ValueView number(std::int64_t value) { return value; }
ValueView text(std::string_view value) { return value; }

}  // namespace

TEST_P(DbConformance, CountsTheRowsThatAStatementChanged) {
    given_items(5);
    auto transaction = begin(connection(), TransactionMode::kWrite);

    EXPECT_EQ(transaction.execute("UPDATE item SET name = 'x' WHERE id > 3").value(), 2);
    EXPECT_EQ(transaction.execute("UPDATE item SET name = 'x' WHERE id > 9").value(), 0);
    EXPECT_EQ(transaction.execute("DELETE FROM item WHERE id = 1").value(), 1);
    EXPECT_EQ(transaction.execute("INSERT INTO item SELECT id + 10, name FROM item").value(), 4);
    EXPECT_EQ(transaction.execute("CREATE TABLE other (id BIGINT)").value(), 0);
    EXPECT_EQ(transaction.execute("DELETE FROM item").value(), 8);
}

TEST_P(DbConformance, CountsEachRowOfABulkWrite) {
    given_items(0);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    const ValueView first[] = {number(1), text("b"), number(2), text("b"), number(3), text("b")};
    EXPECT_THAT(transaction.execute_many(kUpsertNewer, {2, first}).value(), ElementsAre(1, 1, 1));

    const ValueView second[] = {number(1), text("c"), number(2), text("a"), number(4), text("a")};
    EXPECT_THAT(transaction.execute_many(kUpsertNewer, {2, second}).value(), ElementsAre(1, 0, 1));
}

TEST_P(DbConformance, RunsTheRowsOfABulkWriteInOrder) {
    given_items(0);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    const ValueView rows[] = {number(1), text("a"), number(1), text("b"), number(1), text("a")};

    EXPECT_THAT(transaction.execute_many(kUpsertNewer, {2, rows}).value(), ElementsAre(1, 1, 0));
}

TEST_P(DbConformance, TakesABulkWriteWithoutRows) {
    given_items(0);
    auto transaction = begin(connection(), TransactionMode::kWrite);

    EXPECT_THAT(transaction.execute_many(kInsertItem, {2, {}}).value(), IsEmpty());
}

TEST_P(DbConformance, FailsABulkWriteAtItsFirstError) {
    given_items(1);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    ASSERT_TRUE(transaction.set_savepoint());
    const ValueView rows[] = {number(2), text("b"), number(1), text("a"), number(3), text("c")};

    EXPECT_EQ(code(transaction.execute_many(kInsertItem, {2, rows})), ErrorCode::kRejected);
    ASSERT_TRUE(transaction.rollback_to_savepoint());
    EXPECT_THAT(items(transaction), ElementsAre(1));
}

TEST_P(DbConformance, RefusesABulkWriteOutsideOfATransaction) {
    given_items(0);
    const ValueView row[] = {number(1), text("a")};

    EXPECT_EQ(code(connection().execute_many(kInsertItem, {2, row})), ErrorCode::kInvalidArgument);
    EXPECT_THAT(items(connection()), IsEmpty());
}

TEST_P(DbConformance, RefusesABulkWriteWithAnIncompleteRow) {
    given_items(0);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    const ValueView values[] = {number(1), text("a"), number(2)};

    EXPECT_EQ(code(transaction.execute_many(kInsertItem, {2, values})),
              ErrorCode::kInvalidArgument);
}

TEST_P(DbConformance, ReadsSeveralCursorsAtOnce) {
    given_items(2);
    auto transaction = begin(connection(), TransactionMode::kRead);
    constexpr std::string_view kQuery = "SELECT id FROM item ORDER BY id";
    const auto first = transaction.query(kQuery).value();
    const auto second = transaction.query(kQuery).value();

    ASSERT_TRUE(first->next().value());
    ASSERT_TRUE(first->next().value());
    ASSERT_TRUE(second->next().value());
    EXPECT_EQ(first->integer(0), 2);
    EXPECT_EQ(second->integer(0), 1);
}

TEST_P(DbConformance, WritesWhileACursorIsOpen) {
    given_items(2);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    const auto rows = transaction.query("SELECT id FROM item WHERE id < 10 ORDER BY id").value();
    while (rows->next().value()) {
        insert_item(transaction, rows->integer(0) + 10).value();
    }

    EXPECT_THAT(items(transaction), ElementsAre(1, 2, 11, 12));
}

TEST_P(DbConformance, StartsAQueryAnewAfterAnAbandonedCursor) {
    given_items(3);
    auto transaction = begin(connection(), TransactionMode::kRead);
    constexpr std::string_view kQuery = "SELECT id FROM item ORDER BY id";
    {
        const auto abandoned = transaction.query(kQuery).value();
        ASSERT_TRUE(abandoned->next().value());
        ASSERT_TRUE(abandoned->next().value());
    }

    EXPECT_THAT(integers(transaction, kQuery), ElementsAre(1, 2, 3));
}

TEST_P(DbConformance, StaysAtTheEndOfACursor) {
    given_items(1);
    auto transaction = begin(connection(), TransactionMode::kRead);
    const auto rows = transaction.query("SELECT id, name FROM item").value();
    EXPECT_EQ(rows->column_count(), 2U);
    ASSERT_TRUE(rows->next().value());

    EXPECT_FALSE(rows->next().value());
    EXPECT_FALSE(rows->next().value());
    EXPECT_EQ(rows->column_count(), 2U);
}

TEST_P(DbConformance, RefusesACursorAfterItsTransaction) {
    given_items(2);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    const auto rows = transaction.query("SELECT id FROM item").value();
    ASSERT_TRUE(rows->next().value());
    ASSERT_TRUE(transaction.commit());

    EXPECT_EQ(code(rows->next()), ErrorCode::kClosed);
}

TEST_P(DbConformance, TakesEffectWhenAQueryIsMadeNotWhenItIsRead) {
    given_items(1);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    constexpr std::string_view kInsert =
        "INSERT INTO item (id, name) VALUES ($1, 'new') RETURNING id";
    transaction.query(kInsert, {std::int64_t{2}}).value();
    EXPECT_THAT(items(transaction), ElementsAre(1, 2));

    EXPECT_EQ(code(transaction.query(kInsert, {std::int64_t{2}})), ErrorCode::kRejected);
}

TEST_P(DbConformance, RunsAScriptOfSeveralStatements) {
    given(
        "CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, name TEXT); "
        "INSERT INTO item VALUES (1, 'a;b'); INSERT INTO item VALUES (2, 'c');\n");

    EXPECT_THAT(items(connection()), ElementsAre(1, 2));
}

TEST_P(DbConformance, KeepsTwoHundredStatementsApart) {
    given_items(0);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    for (int round = 0; round < 2; ++round) {
        for (int id = 0; id < 200; ++id) {
            const std::string sql = "SELECT " + std::to_string(id);
            EXPECT_THAT(integers(transaction, sql), ElementsAre(id));
        }
    }
}

TEST_P(DbConformance, SaysWhichKindOfErrorItWas) {
    given_items(1);
    given(
        "CREATE TABLE part (item BIGINT NOT NULL REFERENCES item (id), "
        "size BIGINT CHECK (size > 0))");
    const std::pair<std::string_view, ErrorCode> kCases[] = {
        {"SELECT * FROM nowhere", ErrorCode::kNotFound},
        {"DELETE FROM nowhere", ErrorCode::kNotFound},
        {"SELEC 1", ErrorCode::kInvalidArgument},
        {"SELECT nothing FROM item", ErrorCode::kInvalidArgument},
        {"SELECT id FROM item WHERE id = $1", ErrorCode::kInvalidArgument},
        {"SELECT 1; SELECT 2", ErrorCode::kInvalidArgument},
        {"", ErrorCode::kInvalidArgument},
        {"INSERT INTO item VALUES (1, 'again')", ErrorCode::kRejected},
        {"INSERT INTO item VALUES (2, NULL)", ErrorCode::kRejected},
        {"INSERT INTO part VALUES (1, 0)", ErrorCode::kRejected},
        {"INSERT INTO part VALUES (9, 1)", ErrorCode::kRejected},
    };
    for (const auto& [sql, expected] : kCases) {
        auto transaction = begin(connection(), TransactionMode::kWrite);
        const auto outcome = transaction.execute(sql);
        ASSERT_FALSE(outcome) << sql;
        EXPECT_EQ(code(outcome), expected) << sql << ": " << outcome.error().message;
    }
}

TEST_P(DbConformance, RefusesTooManyParameters) {
    given_items(1);
    auto transaction = begin(connection(), TransactionMode::kWrite);

    EXPECT_EQ(code(transaction.execute("DELETE FROM item WHERE id = $1",
                                       {std::int64_t{1}, std::int64_t{2}})),
              ErrorCode::kInvalidArgument);
}

TEST_P(DbConformance, NamesTheDatabaseInItsMessages) {
    const auto outcome = connection().execute("DELETE FROM nowhere", {});
    ASSERT_FALSE(outcome);

    EXPECT_THAT(outcome.error().message,
                HasSubstr(std::string(backend().database().display_url())));
    EXPECT_THAT(outcome.error().message, HasSubstr("nowhere"));
}

TEST_P(DbConformance, RefusesOptionsOutOfBounds) {
    Database& database = backend().database();

    EXPECT_EQ(code(database.connect({.lock_patience = -1ms})), ErrorCode::kInvalidArgument);
    EXPECT_EQ(code(database.connect({.lock_patience = 61s})), ErrorCode::kInvalidArgument);
    EXPECT_EQ(code(database.connect({.cache_kib = 63})), ErrorCode::kInvalidArgument);
    EXPECT_EQ(code(database.connect({.cache_kib = 1'048'577})), ErrorCode::kInvalidArgument);
}

TEST_P(DbConformance, TakesAnyTextAsAQuotedName) {
    for (const std::string_view name : {"plain", "Mixed Case", "select", "say \"hi\"", "a'b",
                                        "x; DROP TABLE item; --", "Zoë 测试", "$1", "\\", "%s{}"}) {
        const std::string table = quote(name);
        given("CREATE TABLE " + table + " (" + table + " BIGINT NOT NULL PRIMARY KEY)");
        given("INSERT INTO " + table + " (" + table + ") VALUES (5)");

        const auto described = connection().dialect().describe_table(connection(), name);
        ASSERT_TRUE(described) << described.error().message;
        EXPECT_EQ(described->name, name);
        EXPECT_THAT(described->key_columns(), ElementsAre(name));
        auto transaction = begin(connection(), TransactionMode::kRead);
        EXPECT_THAT(integers(transaction, "SELECT " + table + " FROM " + table), ElementsAre(5));
    }
}

TEST_P(DbConformance, DescribesATable) {
    given(
        "CREATE TABLE place (id BIGINT NOT NULL, shop BIGINT NOT NULL, label VARCHAR(50), "
        "twice BIGINT GENERATED ALWAYS AS (id * 2) STORED, code TEXT NOT NULL, "
        "PRIMARY KEY (shop, id))");
    given("CREATE UNIQUE INDEX place_code ON place (code)");
    given("CREATE INDEX place_label ON place (label)");

    const TableDescription table =
        connection().dialect().describe_table(connection(), "place").value();

    ASSERT_EQ(table.columns.size(), 5U);
    EXPECT_EQ(table.name, "place");
    EXPECT_EQ(table.columns[0].name, "id");
    EXPECT_EQ(table.columns[0].key_position, 2U);
    EXPECT_TRUE(table.columns[0].not_null);
    EXPECT_EQ(table.columns[1].key_position, 1U);
    EXPECT_EQ(table.columns[2].key_position, 0U);
    EXPECT_FALSE(table.columns[2].not_null);
    EXPECT_THAT(table.columns[2].declared_type, HasSubstr("50"));
    EXPECT_FALSE(table.columns[2].generated);
    EXPECT_TRUE(table.columns[3].generated);
    EXPECT_TRUE(table.columns[4].not_null);
    EXPECT_THAT(table.key_columns(), ElementsAre("shop", "id"));
    EXPECT_THAT(table.unique_indexes, ElementsAre("place_code"));
    EXPECT_EQ(table.find("label"), &table.columns[2]);
    EXPECT_EQ(table.find("nothing"), nullptr);
}

TEST_P(DbConformance, DescribesATableWithoutAKey) {
    given("CREATE TABLE note (body TEXT)");

    const auto table = connection().dialect().describe_table(connection(), "note").value();

    EXPECT_THAT(table.key_columns(), IsEmpty());
}

TEST_P(DbConformance, FindsOnlyTables) {
    given_items(0);
    given("CREATE VIEW shown AS SELECT id FROM item");
    const Dialect& dialect = connection().dialect();

    EXPECT_EQ(code(dialect.describe_table(connection(), "nowhere")), ErrorCode::kNotFound);
    EXPECT_EQ(code(dialect.describe_table(connection(), "Item")), ErrorCode::kNotFound);
    EXPECT_EQ(code(dialect.describe_table(connection(), "shown")), ErrorCode::kNotFound);
}

TEST_P(DbConformance, ListsTheServicesTables) {
    given_items(0);
    given("CREATE TABLE instep_own (id BIGINT)");
    given("CREATE TABLE insteps (id BIGINT)");
    given("CREATE VIEW shown AS SELECT id FROM item");

    EXPECT_THAT(connection().dialect().list_tables(connection()).value(),
                ElementsAre("insteps", "item"));
}

}  // namespace instep::test
