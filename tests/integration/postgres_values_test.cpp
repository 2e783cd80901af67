// Every common type of PostgreSQL, through capture, chunks, guarded apply and verification.
#include "tests/support/postgres_owner.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <algorithm>

namespace instep::test {
namespace {

using testing::Contains;
using testing::ElementsAre;

/// A column with values as SQL writes them. NULL is tried with each.
struct Sample {
    std::string column;
    std::string type;
    std::vector<std::string> values;
};

const std::vector<Sample> kNumbers = {
    {"small", "smallint", {"-32768", "32767", "0"}},
    {"usual", "integer", {"-2147483648", "2147483647", "0"}},
    {"big", "bigint", {"-9223372036854775808", "9223372036854775807", "9007199254740993"}},
    {"object", "oid", {"0", "4294967295"}},
    {"single", "real", {"0.1", "1e-45", "3.4028235e38", "'Infinity'", "'-Infinity'", "16777217"}},
    {"twice",
     "double precision",
     {"0.1", "5e-324", "1.7976931348623157e308", "'Infinity'", "'-Infinity'", "'-0'",
      "0.30000000000000004", "1e22", "123456789012345678", "-2.5"}},
    {"exact",
     "numeric",
     {"0.1000", "'NaN'", "'Infinity'", "'-Infinity'", "12345678901234567890.123456789", "1e-300",
      "-7", "repeat('9', 5000)::numeric"}},
    {"price", "numeric(10,2)", {"0.10", "-99999999.99", "'NaN'"}},
    {"thousands", "numeric(3,-3)", {"999000", "-1000", "499"}},
    {"whole", "numeric(18,0)", {"999999999999999999", "-1", "100000"}},
    {"wide", "numeric(38,0)", {"99999999999999999999999999999999999999", "1"}},
    {"cash", "money", {"'1234567.89'", "'-0.01'"}},
    {"yes", "boolean", {"true", "false"}},
    {"bits", "bit(4)", {"B'1010'", "B'0000'"}},
    {"more_bits", "bit varying(9)", {"B'1'", "B''"}},
};

const std::vector<Sample> kTexts = {
    {"plain",
     "text",
     {"''", "' '", "E'a\\nb\\r\\t\\x01\\x1f\\x7f'", "'\"\\\\''/{}'", "E'\\u00e9\\U0001F600\\uFFFF'",
      "E'e\\u0301'", "'null'", "'\\x41'", "repeat('ü', 100000)"}},
    {"limited", "varchar(10)", {"'a  '", "''", "'0123456789'"}},
    {"padded", "char(5)", {"'a'", "''", "'ab cd'", "E'\\u00e9'"}},
    {"one", "\"char\"", {"'x'", "'\"'"}},
    {"named", "name", {"'users'", "'Zoë \"x\"'"}},
    {"bytes", "bytea", {"''", "'\\x00ff7f80'", "decode(repeat('00', 5000), 'hex')", "'\\x5c78'"}},
    {"document", "json", {"'{\"b\": [1, 2.50], \"a\":null}'", "'\"x\"'", "'null'", "'1e400'"}},
    {"parsed", "jsonb", {"'{\"b\": [1, 2.50], \"a\":null}'", "'\"\\\"\"'", "'null'"}},
    {"markup", "xml", {"'<a b=\"c\">&amp;</a>'"}},
    {"own_id", "uuid", {"'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"}},
    {"host", "inet", {"'10.0.0.1'", "'10.0.0.1/8'", "'::1'"}},
    {"network", "cidr", {"'10.0.0.0/8'", "'2001:db8::/32'"}},
    {"card", "macaddr", {"'08:00:2B:01:02:03'"}},
    {"words", "tsvector", {"'a:1A fat:2B,4C'::tsvector"}},
    {"place", "point", {"'(0.1,-1e300)'"}},
};

const std::vector<Sample> kTimes = {
    {"day",
     "date",
     {"'2024-02-29'", "'0044-03-15 BC'", "'infinity'", "'-infinity'", "'12345-01-01'"}},
    {"at",
     "timestamp",
     {"'2024-02-29 23:59:59.999999'", "'0044-03-15 00:00:00 BC'", "'infinity'", "'-infinity'",
      "'2024-01-01 00:00:00.1'", "'12345-01-01 00:00:00'"}},
    {"at_ms", "timestamp(3)", {"'2024-02-29 23:59:59.999'"}},
    {"instant",
     "timestamptz",
     {"'2024-02-29 23:59:59.999999+13:45'", "'0044-03-15 00:00:00+00 BC'", "'infinity'",
      "'-infinity'", "'1890-01-01 00:00:00+00'", "'0001-01-01 00:00:00+14'"}},
    {"instant_s", "timestamptz(0)", {"'2024-02-29 23:59:59-08'"}},
    {"clock", "time", {"'24:00:00'", "'00:00:00.000001'"}},
    {"clock_there", "timetz", {"'23:59:59.5+05:45'", "'00:00:00-15:59:59'"}},
    {"lasting",
     "interval",
     {"'1 year -2 mons 3 days -04:05:06.789'", "'0'", "'-178000000 years'", "'1 day'"}},
    {"lasting_days", "interval day to second(2)", {"'3 days 04:05:06.78'"}},
};

const std::vector<Sample> kCompounds = {
    {"numbers", "integer[]", {"'{}'", "'{1,NULL,-3}'", "'{{1,2},{3,4}}'", "'[0:1]={5,6}'"}},
    {"texts", "text[]", {"'{}'", "ARRAY['a\"b', 'c\\d', 'NULL', NULL, '', 'x,y', '{z}']"}},
    {"limiteds", "varchar(5)[]", {"ARRAY['a', NULL, 'b,c']", "'{}'"}},
    {"paddeds", "char(3)[]", {"ARRAY['a', 'b c']"}},
    {"instants", "timestamptz[]", {"ARRAY['2024-02-29 23:00:00+13'::timestamptz, 'infinity']"}},
    {"days", "date[]", {"ARRAY['2024-02-29'::date, '0044-03-15 BC']"}},
    {"reals", "double precision[]", {"ARRAY[0.1, 0.30000000000000004, 'NaN']::float8[]"}},
    {"blobs", "bytea[]", {"ARRAY['\\x00ff'::bytea]"}},
    {"flags", "boolean[]", {"ARRAY[true, false, NULL]"}},
    {"sums", "money[]", {"ARRAY['1.50'::money]"}},
    {"hosts", "inet[]", {"ARRAY['10.0.0.1'::inet]"}},
    {"span", "int4range", {"'[1,5)'", "'empty'", "'(,3]'"}},
    {"period", "tstzrange", {"'[2024-02-29 10:00:00+13,)'"}},
    {"spans", "int8multirange", {"'{[1,3),[5,9)}'"}},
    {"mood", "mood", {"'sad'", "'very \"happy\"'"}},
    {"moods", "mood[]", {"ARRAY['sad', 'very \"happy\"']::mood[]"}},
    {"thing", "thing", {"ROW(1, 'a,\"b', '2024-02-29 10:00:00+13', 0.1, '\\xff')"}},
    {"things", "thing[]", {"ARRAY[ROW(1, NULL, '2024-02-29 10:00:00+13', 0.1, '')::thing]"}},
    {"distance", "real_range", {"'[0.1,0.30000000000000004]'"}},
    {"positive", "positive", {"1", "5"}},
    {"deeper", "deeper", {"2"}},
    {"deep_flag", "deep_flag", {"true"}},
    {"deep_time", "deep_time", {"'2024-02-29 10:00:00+13'"}},
    {"list", "list", {"ARRAY['a','b']"}},
    {"letters", "citext", {"'MiXed'", "''"}},
    {"pairs", "hstore", {"'a=>1, \"b c\"=>NULL'"}},
};

constexpr std::string_view kOwnTypes = R"(
    CREATE EXTENSION citext; CREATE EXTENSION hstore;
    CREATE TYPE mood AS ENUM ('very "happy"', 'sad');
    CREATE TYPE thing AS (number int, words text, at timestamptz, share float8, bytes bytea);
    CREATE TYPE real_range AS RANGE (subtype = float8);
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE DOMAIN deeper AS positive;
    CREATE DOMAIN flag AS boolean; CREATE DOMAIN deep_flag AS flag;
    CREATE DOMAIN moment AS timestamptz; CREATE DOMAIN deep_time AS moment;
    CREATE DOMAIN list AS varchar(9)[];
)";

class PostgresValues : public PostgresOwnerTest {
protected:
    /// Rows with each value of each column, and one of nothing but NULL.
    void insert(const std::vector<Sample>& samples, int first_id) {
        std::size_t rows = 0;
        for (const Sample& sample : samples) {
            rows = std::max(rows, sample.values.size());
        }
        for (std::size_t row = 0; row <= rows; ++row) {
            std::vector<std::string> values;
            for (const Sample& sample : samples) {
                values.push_back(row == rows ? "NULL" : sample.values[row % sample.values.size()]);
            }
            given(fmt::format("INSERT INTO sample VALUES ({}, 0, {})",
                              first_id + static_cast<int>(row), fmt::join(values, ", ")));
        }
    }

    void expect_to_follow(const std::vector<Sample>& samples) {
        std::string columns;
        for (const Sample& sample : samples) {
            columns += fmt::format(", {} {}", sample.column, sample.type);
        }
        given(fmt::format("CREATE TABLE sample (id int PRIMARY KEY, touched int{})", columns));
        insert(samples, 1);
        follow("sample");
        expect_in_step();
        insert(samples, 101);
        expect_in_step();
        given("UPDATE sample SET touched = touched + 1");
        expect_in_step();
        given("DELETE FROM sample WHERE id % 2 = 0");
        expect_in_step();
    }
};

TEST_P(PostgresValues, Numbers) { expect_to_follow(kNumbers); }

TEST_P(PostgresValues, Texts) { expect_to_follow(kTexts); }

TEST_P(PostgresValues, Times) { expect_to_follow(kTimes); }

TEST_P(PostgresValues, CompoundsAndTypesOfTheDatabase) {
    given(std::string(kOwnTypes));
    expect_to_follow(kCompounds);
}

TEST_P(PostgresValues, RealsThatAreNoNumbers) {
    given(
        "CREATE TABLE sample (id int PRIMARY KEY, x double precision, y real);"
        "INSERT INTO sample VALUES (1, 'NaN', 'NaN'), (2, '-0', '-0')");
    ReplicaSide& side = follow("sample");
    EXPECT_EQ(system.verify(side).differences, 0U);
    given("INSERT INTO sample VALUES (3, 'NaN', 'NaN'), (4, '-0', '-0'), (5, '-Infinity', 1)");
    system.settle();
    EXPECT_EQ(system.verify(side).differences, 0U);
    if (on_postgres()) {
        expect_in_step();
    } else {
        EXPECT_THAT(rows_of(*side.sql, "SELECT id, typeof(x), x, y FROM copy"),
                    ElementsAre("1|text|NaN|NaN", "2|real|0|0", "3|text|NaN|NaN", "4|real|0|0",
                                "5|real|-inf|1"));
    }
}

TEST_P(PostgresValues, AWholeNumericThatIsNoNumberIsNull) {
    given("CREATE TABLE sample (id int PRIMARY KEY, n numeric(9,0) NOT NULL)");
    follow("sample");
    given("INSERT INTO sample VALUES (1, 'NaN'), (2, 5)");
    system.settle();
    EXPECT_EQ(system.verify(*system.replicas.front()).differences, 0U);
    EXPECT_EQ(copied("SELECT count(*) FROM copy WHERE n IS NULL OR n = 5"), "2");
}

TEST_P(PostgresValues, GeneratedColumns) {
    given(
        "CREATE TABLE sample (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, price numeric, "
        "twice numeric GENERATED ALWAYS AS (price * 2) STORED)");
    follow("sample");
    given("INSERT INTO sample (price) VALUES (1.5), (NULL); UPDATE sample SET price = 2.25");
    expect_in_step();
    EXPECT_EQ(copied("SELECT count(*) FROM copy WHERE CAST(twice AS text) = '4.50'"), "2");
}

TEST_P(PostgresValues, ATableOf120Columns) {
    std::string columns;
    for (int i = 0; i < 120; ++i) {
        columns += fmt::format(", c{} {}", i, i % 3 == 0 ? "int" : i % 3 == 1 ? "text" : "bytea");
    }
    given("CREATE TABLE sample (id int PRIMARY KEY" + columns + ")");
    given("INSERT INTO sample (id, c0, c118, c119) VALUES (1, 5, 'x', '\\xff')");
    follow("sample");
    given("UPDATE sample SET c60 = 7, c61 = '\"'; INSERT INTO sample (id) VALUES (2)");
    expect_in_step();
    EXPECT_EQ(copied("SELECT c60 FROM copy WHERE id = 1"), "7");
}

TEST_P(PostgresValues, NamesThatNobodyExpects) {
    const std::string longest(63, 'n');
    given(
        "CREATE SCHEMA \"odd schema\";"
        "CREATE TABLE \"odd schema\".\"Sélect\" (\"order\" int, \"say \"\"hi\"\"\" text, "
        "\"Zoë\" text, \"back\\slash\" text, \"it's\" text, \"$1\" text, \"a\nb\" text, \"" +
        longest + "\" text, PRIMARY KEY (\"order\"))");
    const std::string insert =
        "INSERT INTO \"odd schema\".\"Sélect\" VALUES ({0}, 'q', 'z', 'b', 'i', 'd', 'n', 'l')";
    given(fmt::format(fmt::runtime(insert), 1));
    follow("odd schema.Sélect", {"order"}, std::string(64, 'e'));
    given(fmt::format(fmt::runtime(insert), 2));
    given("UPDATE \"odd schema\".\"Sélect\" SET \"say \"\"hi\"\"\" = 'new' WHERE \"order\" = 1");
    expect_in_step();
    given("UPDATE \"odd schema\".\"Sélect\" SET \"order\" = 3 WHERE \"order\" = 1");
    expect_in_step();
    EXPECT_THAT(rows_of(*system.replicas.front()->sql, "SELECT \"say \"\"hi\"\"\" FROM copy"),
                Contains("new"));
}

TEST_P(PostgresValues, EntitiesThatBeginAlike) {
    given("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)");
    const std::string alike(63, 'e');
    follow("a", {"id"}, "f" + alike);
    follow("b", {"id"}, "f" + alike.substr(1) + "x");
    given("INSERT INTO a VALUES (1); INSERT INTO b VALUES (2)");
    expect_in_step();
    // Nothing is made again: the names stand in the catalogue as they were given.
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kRead).value();
    const std::vector<PublishEntry> entries = {
        {"a", "f" + alike, {"id"}, {"id"}, {}},
        {"b", "f" + alike.substr(1) + "x", {"id"}, {"id"}, {}}};
    EXPECT_TRUE(plan_capture(*system.owner, "iam", entries).value().empty());
}

INSTANTIATE_TEST_SUITE_P(Replica, PostgresValues, testing::Values(Home::kPostgres, Home::kSqlite),
                         [](const auto& home) {
                             return home.param == Home::kPostgres ? "postgres" : "sqlite";
                         });

}  // namespace
}  // namespace instep::test
