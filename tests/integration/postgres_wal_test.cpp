// Everything that keeps a replica in step, with changes taken from PostgreSQL's write-ahead log.
#include "instep/db/postgres/database.hpp"
#include "instep/db/schema.hpp"
#include "instep/wal/wal_capture.hpp"
#include "tests/integration/postgres_wal_fixture.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <thread>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::PostgresWal;
using test::PostgresWalWithWriters;
using test::ReplicaSide;
using test::rows_of;
using test::run_sql;
using test::value_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST_F(PostgresWal, FollowsInsertsUpdatesAndDeletes) {
    ReplicaSide& side = follow();
    system.settle();
    given_users(1, 3);
    system.owner_sql("UPDATE users SET name = 'Ada' WHERE id = 2");
    system.owner_sql("DELETE FROM users WHERE id = 1");
    system.settle();

    EXPECT_THAT(names(side), ElementsAre("Ada", "user 3"));
    EXPECT_EQ(value_of(*system.owner,
                       "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = "
                       "'users'::regclass"),
              "0");
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM instep.log WHERE topic = 'iam.user'"),
              "0");
}

TEST_F(PostgresWal, FollowsAKeyThatChanges) {
    given_users(1, 2);
    ReplicaSide& side = follow();
    system.settle();
    system.owner_sql("UPDATE users SET id = 9 WHERE id = 1");
    system.settle();

    EXPECT_THAT(names(side), ElementsAre("user 2", "user 1"));
}

TEST_F(PostgresWal, WritesWhatTriggersWrite) {
    system.owner_sql(R"(CREATE TYPE mood AS ENUM ('calm', 'wild');
        CREATE TABLE kinds (a bigint, b text, c timestamptz, PRIMARY KEY (a, b, c), i2 smallint,
            n numeric(20,4), w numeric(6,0), f4 real, f8 double precision, t boolean,
            bin bytea, ts timestamp, d date, u uuid, j jsonb, js json, arr integer[],
            tarr text[], m mood, ch char(5), vc varchar(9), ip inet, net cidr, iv interval,
            nul text))");
    const PublishEntry kinds = {
        "kinds",
        "kind",
        {"a", "b", "c"},
        {"a", "b", "c",  "i2",  "n",    "w", "f4", "f8", "t",  "bin", "ts", "d",
         "u", "j", "js", "arr", "tarr", "m", "ch", "vc", "ip", "net", "iv", "nul"},
        {}};
    std::vector<std::vector<std::string>> written;
    for (const CaptureBy by : {CaptureBy::kWal, CaptureBy::kTriggers}) {
        system.publish({users(), kinds});
        system.capture_by(by);
        system.settle();
        auto broker = system.broker_database->connect().value();
        const std::string last =
            value_of(*broker, "SELECT coalesce(max(rowid), 0) FROM instep_message");
        system.owner_sql(R"(INSERT INTO kinds VALUES
            (1, E'k"\u00fc\n', '2024-02-29 12:00:00.5+02', -3, 1.5, 12, 0.1, 1e300, true,
             '\x00ff', '2024-01-02 03:04:05', '2024-01-02', '0a0b0c0d-0000-4000-8000-000000000001',
             '{"b": [1, 2.50]}', '{"b" :1}', '{1,NULL,3}', '{"x y","\""}', 'wild', 'ab', 'cd',
             '10.0.0.1', '10.0.0.0/8', '1 year 2 days 03:04:05', NULL),
            (2, '', 'infinity', NULL, NULL, -7, 'NaN', '-Infinity', false, '', 'infinity',
             '0044-03-15 BC', NULL, 'null', 'null', '{}', '{}', 'calm', '', '', '::1', '::/0',
             '-1 mon', NULL),
            (3, 'x', '0044-03-15 00:00:00+00 BC', 0, 0, 0, 1, 100000, false, NULL, NULL, NULL,
             NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '10.1.0.0/16', NULL, NULL, NULL);
            UPDATE kinds SET f8 = 0.1 WHERE a = 1;
            UPDATE kinds SET a = 4 WHERE a = 3;
            DELETE FROM kinds)");
        system.settle();
        written.push_back(rows_of(*broker,
                                  "SELECT type, key, operation, schema, CAST(data AS TEXT) FROM "
                                  "instep_message WHERE type LIKE 'kind.%' AND rowid > " +
                                      last + " ORDER BY rowid"));
    }
    forget_handovers();
    EXPECT_THAT(written[0], SizeIs(9));
    // Statement triggers write the rows of one statement in an order of their own.
    std::ranges::sort(written[0]);
    std::ranges::sort(written[1]);
    EXPECT_EQ(written[0], written[1]);
}

TEST_F(PostgresWal, RefusesWhatTheLogCannotBring) {
    system.owner_sql(
        "CREATE TABLE plain (id bigint PRIMARY KEY, twice bigint GENERATED ALWAYS AS "
        "(id * 2) STORED); ALTER TABLE plain REPLICA IDENTITY NOTHING");
    const auto refusal = [&](const std::vector<std::string>& columns) {
        const PublishEntry entry = {"plain", "plain", {"id"}, columns, {}};
        return plan_wal_capture(*system.owner, "iam", std::span(&entry, 1)).error();
    };
    EXPECT_EQ(refusal({"id"}).code, ErrorCode::kUnsupported);
    EXPECT_THAT(refusal({"id"}).message, HasSubstr("REPLICA IDENTITY DEFAULT"));
    system.owner_sql("ALTER TABLE plain REPLICA IDENTITY DEFAULT");
    EXPECT_EQ(refusal({"id", "twice"}).code, ErrorCode::kUnsupported);
    EXPECT_THAT(refusal({"id", "twice"}).message, HasSubstr("column twice is generated"));
}

/// Before capture from the write-ahead log is in force.
class PostgresWalPreparation : public testing::Test {
protected:
    explicit PostgresWalPreparation(test::PostgresServer& server = test::PostgresServer::shared())
        : place_(server),
          database_(open_postgres(place_.url(), clock_).value()),
          sql_(database_->connect().value()) {
        (void)migrate(*sql_, service_migrations(sql_->dialect())).value();
        run_sql(*sql_, "CREATE TABLE users (id bigint PRIMARY KEY)");
    }

    Result<std::vector<SchemaChange>> apply(const std::string& url) {
        return apply_wal_capture(*sql_, {"preparation", url, std::span(&users_, 1)}, clock_);
    }

    SystemClock clock_;
    test::PostgresDatabase place_;
    std::unique_ptr<Database> database_;
    std::unique_ptr<Connection> sql_;
    const PublishEntry users_{"users", "user", {"id"}, {"id"}, {}};
};

TEST_F(PostgresWalPreparation, ShowsWhatItWillDo) {
    const auto changes = plan_wal_capture(*sql_, "preparation", std::span(&users_, 1)).value();
    std::vector<std::string> planned;
    for (const SchemaChange& change : changes) {
        planned.push_back(change.summary);
    }
    EXPECT_THAT(planned, ElementsAre("create publication instep_preparation",
                                     "create replication slot instep_preparation",
                                     "publish user from table users (1 columns)",
                                     "capture from the write-ahead log from here on"));
    EXPECT_THAT(apply(place_.url()).value(), SizeIs(4));
    EXPECT_THAT(apply(place_.url()).value(), IsEmpty());
    EXPECT_EQ(read_wal_slot(*sql_, 1U << 20U).value()->state, "waiting");
}

TEST_F(PostgresWalPreparation, NeedsTheRightToReplicate) {
    run_sql(*sql_, "DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN");
    std::string url = place_.url();
    url.replace(url.find("tester"), 6, "plain");
    const auto refused = apply(url);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::kPermissionDenied);
    EXPECT_EQ(value_of(*sql_, "SELECT count(*) FROM pg_publication"), "0");
}

TEST_F(PostgresWalPreparation, LeavesASlotOfAnotherDatabaseAlone) {
    const test::PostgresDatabase other;
    test::run_postgres(other.url(),
                       "SELECT pg_create_logical_replication_slot("
                       "'instep_preparation', 'pgoutput')");
    const auto refused = apply(place_.url());
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().message, HasSubstr("instep_preparation"));
    test::run_postgres(other.url(), "SELECT pg_drop_replication_slot('instep_preparation')");
}

TEST(PostgresWalServer, NeedsWalLevelLogical) {
    test::PostgresServer server({.settings = {"wal_level = replica"}});
    const SystemClock clock;
    const auto database = open_postgres(server.url(), clock).value();
    const auto sql = database->connect().value();
    const auto refused = plan_wal_capture(*sql, "iam", {});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::kConfigInvalid);
    EXPECT_THAT(refused.error().message, HasSubstr("wal_level = logical"));
}

/// Of this process, in MiB.
std::size_t resident_mib() {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm").ignore(32, ' ') >> pages;
    return pages * 4096 >> 20U;
}

TEST_F(PostgresWalWithWriters, ALargeTransactionIsTakenInPages) {
    // 1,000,000 behave alike, and take five times as long.
    constexpr std::uint64_t kRows = 200'000;
    system.settle();
    const std::size_t before = resident_mib();
    system.owner_sql(fmt::format(
        "INSERT INTO users SELECT i, repeat('x', 200) FROM generate_series(1, {}) i", kRows));
    std::uint64_t moved = 0;
    std::size_t most = before;
    EXPECT_TRUE(eventually([&] {
        const std::uint64_t page = system.step();
        EXPECT_LE(page, 1000U);
        moved += page;
        most = std::max(most, resident_mib());
        return moved >= kRows;
    }));
    EXPECT_EQ(moved, kRows);
    EXPECT_LT(most, before + 32);
}

TEST_F(PostgresWal, ResumesWithinATransaction) {
    ReplicaSide& side = follow();
    system.settle();
    const std::size_t filling = published().size();
    given_users(1, 25);
    for (int i = 0; i < 12; ++i) {
        system.restart_relay();
        system.step();
    }
    system.settle();

    EXPECT_THAT(names(side), SizeIs(25));
    // In pages of ten, each of which was confirmed before the next.
    EXPECT_THAT(published(), SizeIs(25U + filling));
    auto versions = published("DISTINCT CASE operation WHEN 1 THEN substr(version, 5, 8) END");
    EXPECT_THAT(versions, SizeIs(2)) << "one version, and one for the chunk that filled";
}

TEST_F(PostgresWal, AContractThatChangesAloneLeavesTheTablesColumnsKnown) {
    ReplicaSide& side = follow();
    given_users(1, 1);
    system.settle();
    // The server tells of a table's columns again only when the table changes.
    system.owner_sql("UPDATE instep.contract SET contract = contract");
    system.owner_sql("UPDATE users SET name = 'later' WHERE id = 1");
    system.settle();
    EXPECT_THAT(system.errors, IsEmpty());
    EXPECT_THAT(names(side), ElementsAre("later"));
}

TEST_F(PostgresWal, PrivateColumnsStay) {
    ReplicaSide& side = follow();
    system.owner_sql("INSERT INTO users VALUES (1, 'a', 'b', 'secret')");
    system.settle();
    EXPECT_THAT(names(side), ElementsAre("a"));
    for (const std::string& event : published("data")) {
        EXPECT_THAT(event, testing::Not(HasSubstr("secret")));
    }
}

TEST_F(PostgresWal, AnUnchangedLargeValueStays) {
    ReplicaSide& side = follow();
    system.settle();
    system.owner_sql("ALTER TABLE users ALTER bio SET STORAGE EXTERNAL");
    system.owner_sql("INSERT INTO users VALUES (1, 'a', repeat('x', 10000))");
    system.owner_sql("UPDATE users SET name = 'b'");
    system.settle();
    EXPECT_EQ(value_of(*side.sql, "SELECT name, length(bio) FROM lookup_users"), "b|10000");

    system.owner_sql("UPDATE users SET id = 2");
    system.settle();
    EXPECT_EQ(value_of(*side.sql, "SELECT id, length(bio) FROM lookup_users"), "2|10000");
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_F(PostgresWal, CarriesAppendedEvents) {
    follow();
    system.settle();
    const std::size_t before = published().size();
    system.owner_sql("SELECT instep.append('iam.user', 'k', 'user.invited', '{}')");
    system.settle();
    EXPECT_EQ(published().size(), before + 1);
    EXPECT_EQ(published().back(), "user.invited k");
}

TEST_F(PostgresWal, ATruncateFillsReplicasAgain) {
    given_users(1, 5);
    ReplicaSide& side = follow();
    system.settle();
    const std::uint32_t before = epoch();
    system.owner_sql("TRUNCATE users");
    given_users(3, 3);
    system.settle();

    EXPECT_THAT(names(side), ElementsAre("user 3"));
    EXPECT_EQ(epoch(), before + 1);
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_F(PostgresWal, SwitchesToTriggersAndBack) {
    ReplicaSide& side = follow();
    given_users(1, 10);
    system.settle();
    for (int round = 0; round < 2; ++round) {
        const int base = 100 + round * 100;
        given_users(base, base + 14);
        system.owner_sql("UPDATE users SET name = 'wal' WHERE id = 1");
        system.capture_by(CaptureBy::kTriggers);
        system.owner_sql("UPDATE users SET name = 'triggers' WHERE id = 1");
        given_users(base + 20, base + 34);
        system.settle();
        EXPECT_EQ(value_of(*side.sql, "SELECT name FROM lookup_users WHERE id = 1"), "triggers");
        EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM pg_replication_slots"), "0");

        given_users(base + 40, base + 54);
        system.capture_by(CaptureBy::kWal);
        system.owner_sql("UPDATE users SET name = 'wal again' WHERE id = 1");
        given_users(base + 60, base + 74);
        system.settle();
        EXPECT_EQ(value_of(*side.sql, "SELECT name FROM lookup_users WHERE id = 1"), "wal again");
    }
    forget_handovers();
    EXPECT_EQ(rows_of(*side.sql, "SELECT id, name FROM lookup_users ORDER BY id"),
              rows_of(*system.owner, "SELECT id, name FROM users ORDER BY id"));
    // Nothing twice.
    EXPECT_THAT(repeated(), IsEmpty());
    EXPECT_EQ(epoch(), 1U);
}

TEST_F(PostgresWalWithWriters, SwitchesToTriggersAndBack) {
    ReplicaSide& side = follow();
    system.settle();
    {
        std::vector<std::jthread> writers;
        for (int w = 0; w < 3; ++w) {
            writers.emplace_back([&, w](const std::stop_token& stop) {
                auto sql = system.owner_database->connect().value();
                for (int i = 0; !stop.stop_requested(); ++i) {
                    run_sql(*sql,
                            fmt::format("INSERT INTO users VALUES ({}, 'w')", w * 1'000'000 + i));
                    run_sql(*sql, fmt::format("UPDATE users SET name = '{}' WHERE id = {}", i,
                                              w * 1'000'000 + i / 2));
                }
            });
        }
        for (int round = 0; round < 4; ++round) {
            for (int i = 0; i < 10; ++i) {
                system.step();
            }
            const CaptureBy next = round % 2 == 0 ? CaptureBy::kTriggers : CaptureBy::kWal;
            system.capture_by(next);
            for (int i = 0; i < 10'000; ++i) {
                system.step();
                const std::string done = value_of(
                    *system.owner, next == CaptureBy::kTriggers
                                       ? "SELECT count(*) = 0 FROM instep.wal_cursor"
                                       : "SELECT base::text = last::text FROM instep.cursor");
                if (done == "1") {
                    break;
                }
            }
        }
    }
    system.settle();
    forget_handovers();
    EXPECT_EQ(rows_of(*side.sql, "SELECT id, name FROM lookup_users ORDER BY id"),
              rows_of(*system.owner, "SELECT id, name FROM users ORDER BY id"));
    EXPECT_THAT(repeated(), IsEmpty());
    EXPECT_EQ(epoch(), 1U);
}

}  // namespace
}  // namespace instep
