// Every kind of key on PostgreSQL: filled and verified in its order, changed and deleted.
#include "tests/support/postgres_owner.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

namespace instep::test {
namespace {

using testing::HasSubstr;

class PostgresKeys : public PostgresOwnerTest {
protected:
    /// `columns` declare the key's; `keys` are the values of each row, as SQL writes them. All
    /// stand before the replica does; then each goes away and comes back by the key's change.
    void expect_to_follow(const std::vector<std::string>& columns,
                          const std::vector<std::string>& keys) {
        for (const std::string& column : columns) {
            columns_.push_back(column.substr(0, column.find(' ')));
        }
        const std::string list = fmt::format("{}", fmt::join(columns_, ", "));
        given(fmt::format("CREATE TABLE sample ({}, words text, PRIMARY KEY ({}))",
                          fmt::join(columns, ", "), list));
        for (const std::string& key : keys) {
            given(fmt::format("INSERT INTO sample VALUES ({}, 'old')", key));
        }
        follow("sample", columns_);
        expect_in_step();
        given("UPDATE sample SET words = 'new'");
        expect_in_step();
        for (std::size_t i = 0; i + 1 < keys.size(); i += 2) {
            given(
                fmt::format("DELETE FROM sample WHERE ({0}) = ({1}); "
                            "UPDATE sample SET ({0}) = ROW ({1}) WHERE ({0}) = ({2})",
                            list, keys[i], keys[i + 1]));
        }
        expect_in_step();
        given(fmt::format("INSERT INTO sample VALUES ({}, 'again')", keys[1]));
        expect_in_step();
        expect_damage_to_be_found();
    }

    /// What only the replica has, and what it lacks, in the middle of the order.
    void expect_damage_to_be_found() {
        ReplicaSide& side = *system.replicas.front();
        run_sql(*side.sql, "DELETE FROM copy WHERE words = 'again'");
        EXPECT_EQ(system.verify(side).differences, 1U);
        EXPECT_EQ(system.verify(side, VerificationPurpose::kRepair).repaired, 1U);
        expect_in_step();
    }

private:
    std::vector<std::string> columns_;
};

TEST_P(PostgresKeys, Integers) {
    expect_to_follow({"id smallint"}, {"-1", "0", "9", "10", "-32768", "100", "2", "32767"});
}

TEST_P(PostgresKeys, BigIntegers) {
    expect_to_follow({"id bigint"}, {"-9223372036854775808", "9223372036854775807", "0", "-1",
                                     "9007199254740993", "9007199254740992"});
}

TEST_P(PostgresKeys, WholeNumerics) {
    expect_to_follow({"id numeric(18,0)"}, {"-1", "999999999999999999", "9", "10", "100000", "2"});
}

TEST_P(PostgresKeys, TextsInTheOrderOfALanguage) {
    expect_to_follow({"id text COLLATE \"en-US-x-icu\""},
                     {"'a'",   "'B'",   "'b'", "'A'",          "'é'",        "'e'",  "'f'",
                      "'Zoë'", "'zoe'", "''",  "'a b'",        "'a-b'",      "'ab'", "E'\\n'",
                      "'\"'",  "'10'",  "'9'", "'\U0001F600'", "E'\\uFFFD'", "'a,1'"});
}

TEST_P(PostgresKeys, TextsOfLimitedLength) {
    expect_to_follow({"id varchar(5)"}, {"'a '", "'a'", "'B'", "'é'", "' a'", "'A'"});
}

TEST_P(PostgresKeys, PaddedTexts) {
    expect_to_follow({"id char(5)"}, {"'a'", "E'a\\x01'", "'ab'", "'B'", "'é'", "''", "'A'"});
}

TEST_P(PostgresKeys, Uuids) {
    expect_to_follow(
        {"id uuid"},
        {"'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
         "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "'0a000000-0000-0000-0000-000000000000'"});
}

TEST_P(PostgresKeys, TextNumberAndUuid) {
    const std::string uuid = "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'";
    expect_to_follow({"place text", "number int", "id uuid"},
                     {"'b', 10, " + uuid, "'b', 9, " + uuid, "'B', -1, " + uuid,
                      "'a,\"1', 1, " + uuid, "'[', 1, " + uuid, "'', 0, " + uuid, "'é', 0, " + uuid,
                      "'b', 9, '00000000-0000-0000-0000-000000000000'"});
}

TEST_P(PostgresKeys, Dates) {
    expect_to_follow({"day date"}, {"'2024-02-29'", "'0001-01-01'", "'infinity'", "'-infinity'",
                                    "'9999-12-31'", "'1969-12-31'"});
}

TEST_P(PostgresKeys, Instants) {
    expect_to_follow({"at timestamptz"},
                     {"'2024-02-29 23:59:59.5+13'", "'2024-02-29 23:59:59+13'", "'infinity'",
                      "'-infinity'", "'0001-01-01 12:00:00+00'", "'2024-02-29 23:59:59.000001+13'",
                      "'2024-03-01 00:00:00+13'"});
}

TEST_P(PostgresKeys, TimestampAndBoolean) {
    expect_to_follow({"at timestamp", "yes boolean"},
                     {"'2024-02-29 23:59:59.5', true", "'2024-02-29 23:59:59.5', false",
                      "'2024-02-29 23:59:59', true", "'2024-02-29 23:59:59', false"});
}

TEST_P(PostgresKeys, Bytes) {
    expect_to_follow({"id bytea"},
                     {"'\\x'", "'\\x00'", "'\\xff'", "'\\x7f'", "'\\x80'", "'\\x0000'"});
}

TEST_P(PostgresKeys, BytesAndNumber) {
    expect_to_follow({"id bytea", "n int"}, {"'\\x', 1", "'\\x00', 1", "'\\xff', 1", "'\\xff', 2"});
}

TEST_P(PostgresKeys, WordsOfAList) {
    given("CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', '\"')");
    expect_to_follow({"id mood"}, {"'sad'", "'ok'", "'happy'", "'\"'"});
}

TEST_P(PostgresKeys, HostsAndLists) {
    expect_to_follow({"host inet", "numbers int[]"},
                     {"'10.0.0.1', '{10}'", "'9.0.0.1', '{2}'", "'9.0.0.1', '{10}'",
                      "'10.0.0.1/8', '{}'", "'::1', '{NULL}'", "'10.0.0.2', '{10,1}'"});
}

TEST_P(PostgresKeys, TimesOfDayAndLengths) {
    expect_to_follow({"at time", "long interval"},
                     {"'24:00:00', '1 day'", "'00:00:00.5', '-1 day'", "'00:00:00', '1 mon'",
                      "'09:00:00', '02:00:00'", "'09:00:00', '10 days'"});
}

TEST_P(PostgresKeys, LettersWithoutCase) {
    given("CREATE EXTENSION citext");
    expect_to_follow({"id citext"}, {"'a'", "'B'", "'c'", "'É'", "'e'", "'Z'"});
    given("UPDATE sample SET id = upper(id::text) WHERE id = 'b'");
    expect_in_step();
}

TEST_P(PostgresKeys, AKeyThatIsCheckedLaterIsNone) {
    given("CREATE TABLE sample (id int PRIMARY KEY DEFERRABLE)");
    const std::vector<PublishEntry> entries = {{"sample", "thing", {"id"}, {"id"}, {}}};
    const auto plan = plan_capture(*system.owner, "iam", entries);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(plan.error().message, HasSubstr("none that is deferrable"));
}

INSTANTIATE_TEST_SUITE_P(Replica, PostgresKeys, testing::Values(Home::kPostgres, Home::kSqlite),
                         [](const auto& home) {
                             return home.param == Home::kPostgres ? "postgres" : "sqlite";
                         });

}  // namespace
}  // namespace instep::test
