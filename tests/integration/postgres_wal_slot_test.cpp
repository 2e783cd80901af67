// What becomes of a service whose replication slot is gone, lost, ahead or too dear.
#include "instep/db/postgres/replication/stream.hpp"
#include "instep/wal/wal_capture.hpp"
#include "tests/integration/postgres_wal_fixture.hpp"

#include <gmock/gmock.h>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::PostgresWal;
using test::PostgresWalWithWriters;
using test::ReplicaSide;
using test::rows_of;
using test::run_sql;
using test::value_of;
using testing::Contains;
using testing::ElementsAre;
using testing::SizeIs;

TEST_F(PostgresWal, ASpentBudgetDropsTheSlotAndFillsAgain) {
    given_users(1, 5);
    ReplicaSide& side = follow();
    system.settle();
    const std::uint32_t before = epoch();
    system.owner_sql(
        "CREATE TABLE ballast AS SELECT repeat('x', 100) FROM generate_series(1, "
        "200000)");
    system.owner_sql("DELETE FROM users WHERE id = 1");
    EXPECT_TRUE(test::eventually([&] {
        system.step();
        return epoch() > before;
    }));
    system.settle();

    EXPECT_EQ(epoch(), before + 1);
    EXPECT_TRUE(logged("wal.budget_spent"));
    EXPECT_THAT(names(side), SizeIs(4));
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_F(PostgresWal, AnIdleReaderLetsTheServerForget) {
    follow();
    system.settle();
    system.owner_sql("CREATE TABLE other AS SELECT repeat('x', 100) FROM generate_series(1, 5000)");
    EXPECT_TRUE(test::eventually([&] {
        system.step();
        return value_of(*system.owner,
                        "SELECT pg_current_wal_lsn() - confirmed_flush_lsn < 300000 FROM "
                        "pg_replication_slots") == "1";
    }));
}

TEST_F(PostgresWal, AMissingSlotBeginsANewEpoch) {
    given_users(1, 5);
    ReplicaSide& side = follow();
    system.settle();
    const std::uint32_t before = epoch();
    system.relays.clear();
    wait_until_the_slot_is_free();
    run_sql(*system.owner, "SELECT pg_drop_replication_slot('instep_iam')");
    system.owner_sql("DELETE FROM users WHERE id < 3");
    system.owner_sql("SELECT instep.append('iam.user', 'k', 'user.invited', '{}')");
    system.restart_relay();
    system.settle();

    EXPECT_EQ(epoch(), before + 1);
    EXPECT_THAT(names(side), ElementsAre("user 3", "user 4", "user 5"));
    EXPECT_THAT(published(), Contains("user.invited k"));
    EXPECT_TRUE(logged("wal.begun_again"));
}

TEST_F(PostgresWal, ANewSlotUnderTheOldNameBeginsANewEpoch) {
    given_users(1, 5);
    ReplicaSide& side = follow();
    system.settle();
    const std::uint32_t before = epoch();
    system.relays.clear();
    wait_until_the_slot_is_free();
    run_sql(*system.owner, "SELECT pg_drop_replication_slot('instep_iam')");
    system.owner_sql("DELETE FROM users WHERE id < 3");
    run_sql(*system.owner, "SELECT pg_create_logical_replication_slot('instep_iam', 'pgoutput')");
    system.restart_relay();
    system.settle();

    EXPECT_EQ(epoch(), before + 1);
    EXPECT_THAT(names(side), SizeIs(3));
}

TEST_F(PostgresWal, TakesTheSlotFromWhoeverStreams) {
    ReplicaSide& side = follow();
    system.settle();
    system.relays.clear();
    wait_until_the_slot_is_free();
    ReplicationOptions other;
    other.url = system.servers.front()->url();
    other.slot = "instep_iam";
    other.publications = {"instep_iam"};
    const SystemClock clock;
    const auto stream = ReplicationStream::start(other, Lsn{}, clock).value();
    given_users(1, 3);
    system.restart_relay();
    system.settle();
    EXPECT_THAT(names(side), SizeIs(3));
    EXPECT_TRUE(logged("wal.stream_taken_over"));
}

TEST_F(PostgresWal, AReaderThatLostItsTurnLeavesTheSlotAlone) {
    follow();
    system.settle();
    system.relays.clear();
    wait_until_the_slot_is_free();
    run_sql(*system.owner, "SELECT pg_drop_replication_slot('instep_iam')");
    LogReaderOptions log;
    log.name = "relay";
    log.service = "iam";
    log.check_turn = [](Transaction&) { return fail(ErrorCode::kFenced, "another reads now"); };
    WalReaderOptions wal;
    wal.url = system.servers.front()->url();
    const SystemClock clock;
    const auto reader =
        wal_reader(*system.owner_database, wal, clock, system.logger)(*system.owner, log, nullptr)
            .value();
    const auto read = reader->read(*system.owner);
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().code, ErrorCode::kFenced);
    EXPECT_EQ(value_of(*system.owner, "SELECT count(*) FROM pg_replication_slots"), "0");
    EXPECT_EQ(epoch(), 1U);
}

/// A server that does not wait for readers of its log.
struct ServerThatForgets {
    test::PostgresServer server{{.settings = {"max_slot_wal_keep_size = 1MB", "min_wal_size = 32MB",
                                              "max_wal_size = 32MB"}}};
};

class PostgresWalThatIsForgotten : private ServerThatForgets, public PostgresWalWithWriters {
protected:
    PostgresWalThatIsForgotten() : PostgresWalWithWriters(&server) {}
};

TEST_F(PostgresWalThatIsForgotten, ALostSlotBeginsANewEpoch) {
    given_users(1, 5);
    ReplicaSide& side = follow();
    system.settle();
    system.relays.clear();
    wait_until_the_slot_is_free();
    system.owner_sql("DELETE FROM users WHERE id < 3");
    system.owner_sql("SELECT instep.append('iam.user', 'k', 'user.invited', '{}')");
    for (int i = 0; i < 5; ++i) {
        system.owner_sql("SELECT pg_logical_emit_message(false, '', repeat('x', 8000000))");
        system.owner_sql("SELECT pg_switch_wal(); CHECKPOINT");
    }
    EXPECT_EQ(read_wal_slot(*system.owner, 1U << 30U).value()->state, "lost");

    system.restart_relay();
    system.settle();
    EXPECT_EQ(epoch(), 2U);
    EXPECT_THAT(names(side), ElementsAre("user 3", "user 4", "user 5"));
    EXPECT_THAT(published(), Contains("user.invited k"));
    EXPECT_TRUE(logged("wal.slot_cannot_go_on"));
    EXPECT_EQ(read_wal_slot(*system.owner, 1U << 30U).value()->state, "streaming");
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_F(PostgresWal, ASlotThatIsAheadBeginsANewEpoch) {
    given_users(1, 5);
    ReplicaSide& side = follow();
    system.settle();
    system.relays.clear();
    wait_until_the_slot_is_free();
    system.owner_sql("DELETE FROM users WHERE id < 3");
    // Somebody else took what was meant for the relay.
    system.owner_sql(
        "SELECT pg_replication_slot_advance('instep_iam', pg_current_wal_insert_lsn())");
    system.restart_relay();
    system.settle();

    EXPECT_EQ(epoch(), 2U);
    EXPECT_THAT(names(side), ElementsAre("user 3", "user 4", "user 5"));
    EXPECT_TRUE(logged("wal.slot_cannot_go_on"));
    EXPECT_EQ(system.verify(side).differences, 0U);
}

TEST_F(PostgresWal, TheBudgetIsToldAtHalfAndAtFourFifths) {
    follow();
    system.settle();
    // What an open transaction holds is kept for it.
    auto other = system.owner_database->connect().value();
    run_sql(*other, "BEGIN; INSERT INTO users VALUES (1, 'open')");
    const auto alarm = [&] {
        return read_wal_slot(*system.owner, PostgresWal::options().wal.budget_bytes).value()->alarm;
    };
    const auto fill_until = [&](WalAlarm level, std::string_view word) {
        EXPECT_TRUE(test::eventually([&] {
            if (alarm() < level) {
                system.owner_sql("SELECT pg_logical_emit_message(false, '', repeat('x', 500000))");
            }
            system.step();
            return logged(word);
        })) << word;
        EXPECT_EQ(alarm(), level);
    };
    EXPECT_EQ(alarm(), WalAlarm::kNone);
    fill_until(WalAlarm::kHalf, "wal.budget_half_spent");
    fill_until(WalAlarm::kHigh, "wal.budget_nearly_spent");
    EXPECT_FALSE(logged("wal.budget_spent"));
    run_sql(*other, "COMMIT");
    EXPECT_TRUE(test::eventually([&] {
        // The slot moves on where the log says which transactions are open, and the cursor with
        // what others write.
        system.owner_sql("CHECKPOINT");
        system.owner_sql("SELECT pg_logical_emit_message(false, '', repeat('x', 100000))");
        system.step();
        return alarm() == WalAlarm::kNone;
    }));
    EXPECT_EQ(epoch(), 1U);
}

}  // namespace
}  // namespace instep
