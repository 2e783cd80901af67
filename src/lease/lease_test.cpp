#include "instep/lease/lease.hpp"

#include "tests/support/sync_system.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::Home;
using test::run_sql;
using test::SyncSystem;
using test::value_of;

class LeaseTest : public testing::Test {
protected:
    static Lease lease_of(std::string owner) {
        return std::move(*Lease::create({"relay/7", std::move(owner), 10s}));
    }

    bool hold(Lease& lease) { return lease.hold(*system.owner).value_or(false); }

    bool may_write(const Lease& lease) {
        auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite);
        return lease.check(*transaction).has_value();
    }

    SyncSystem system;
    Lease ann = lease_of("ann");
    Lease ben = lease_of("ben");
};

TEST_F(LeaseTest, HasOneHolder) {
    EXPECT_TRUE(hold(ann));
    EXPECT_FALSE(hold(ben));
    EXPECT_TRUE(may_write(ann));
    EXPECT_FALSE(may_write(ben));
}

TEST_F(LeaseTest, PassesToAnotherAfterItsTime) {
    EXPECT_TRUE(hold(ann));
    system.clock.advance(10s);
    EXPECT_TRUE(hold(ben));
    EXPECT_GT(ben.epoch(), ann.epoch());
}

TEST_F(LeaseTest, AFormerHolderMayNotWriteEvenIfItDoesNotKnow) {
    EXPECT_TRUE(hold(ann));
    system.clock.advance(11s);
    EXPECT_TRUE(hold(ben));
    EXPECT_TRUE(ann.held()) << "ann was paused and has not asked";
    EXPECT_FALSE(may_write(ann));
    EXPECT_FALSE(hold(ann));
}

TEST_F(LeaseTest, TellsWhetherItWasGivenUp) {
    EXPECT_TRUE(hold(ann));
    EXPECT_FALSE(ann.was_abandoned()) << "nobody held it before";
    EXPECT_TRUE(ann.release(*system.owner));
    EXPECT_TRUE(hold(ben));
    EXPECT_FALSE(ben.was_abandoned());
    system.clock.advance(11s);
    EXPECT_TRUE(hold(ann));
    EXPECT_TRUE(ann.was_abandoned()) << "ben did not come back";
}

TEST_F(LeaseTest, IsRenewedWhileItIsUsed) {
    EXPECT_TRUE(hold(ann));
    const auto epoch = ann.epoch();
    for (int i = 0; i < 10; ++i) {
        system.clock.advance(6s);
        EXPECT_TRUE(hold(ann));
        EXPECT_FALSE(hold(ben));
    }
    EXPECT_EQ(ann.epoch(), epoch);
}

TEST_F(LeaseTest, IsFreeAtOnceWhenReleased) {
    EXPECT_TRUE(hold(ann));
    EXPECT_TRUE(ann.release(*system.owner));
    EXPECT_TRUE(hold(ben));
}

TEST_F(LeaseTest, ARestartedHolderHasANewEpoch) {
    EXPECT_TRUE(hold(ann));
    Lease again = lease_of("ann");
    EXPECT_TRUE(hold(again));
    EXPECT_GT(again.epoch(), ann.epoch());
    EXPECT_FALSE(may_write(ann)) << "the process before the restart";
}

TEST_F(LeaseTest, IsLostWhenItIsRevokedAndTakenAgainOnlyIfTheConditionHolds) {
    bool may_lead = true;
    Lease led =
        *Lease::create({"relay/7", "ann", 10s, [&](Transaction&) -> Result<void> {
                            return may_lead ? Result<void>() : fail(ErrorCode::kFenced, "no");
                        }});
    ASSERT_TRUE(hold(led));
    const auto epoch = led.epoch();
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite);
    ASSERT_TRUE(revoke_leases(*transaction));
    ASSERT_TRUE(transaction->commit());
    EXPECT_FALSE(may_write(led));

    may_lead = false;
    led.lose();
    EXPECT_EQ(led.hold(*system.owner).error().code, ErrorCode::kFenced);
    EXPECT_TRUE(hold(ben));
    system.clock.advance(11s);
    may_lead = true;
    EXPECT_TRUE(hold(led));
    EXPECT_GT(led.epoch(), epoch);
}

TEST_F(LeaseTest, IsRenewedOnlyAsLongAsTheConditionHolds) {
    bool may_lead = true;
    Lease led =
        *Lease::create({"relay/7", "ann", 10s, [&](Transaction&) -> Result<void> {
                            return may_lead ? Result<void>() : fail(ErrorCode::kFenced, "no");
                        }});
    ASSERT_TRUE(hold(led));
    may_lead = false;
    system.clock.advance(6s);
    EXPECT_EQ(led.hold(*system.owner).error().code, ErrorCode::kFenced);
}

TEST_F(LeaseTest, RefusesBoundsThatMakeNoSense) {
    EXPECT_FALSE(Lease::create({"", "ann", 10s}));
    EXPECT_FALSE(Lease::create({"x", "ann", 10ms}));
}

class LeaseRequireTest : public testing::TestWithParam<Home> {
protected:
    void given_a_row() {
        ASSERT_TRUE(
            system.owner->execute_script("CREATE TABLE users (email text); "
                                         "INSERT INTO users VALUES ('a')"));
    }

    /// A write under the lease, as relays and consumers do it.
    Result<void> write() {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*system.owner, TransactionMode::kWrite));
        INSTEP_TRY(lease.require(transaction));
        INSTEP_TRY(transaction.execute("UPDATE users SET email = 'written'"));
        return transaction.commit();
    }

    SyncSystem system{{.owner = GetParam()}};
    Lease lease = std::move(*Lease::create({"relay/7", "ann's", 10s}));
};

TEST_P(LeaseRequireTest, LetsTheHolderWrite) {
    given_a_row();
    ASSERT_TRUE(lease.hold(*system.owner).value());
    const auto written = write();
    EXPECT_TRUE(written) << written.error().message;
    EXPECT_EQ(value_of(*system.owner, "SELECT email FROM users"), "written");
}

TEST_P(LeaseRequireTest, LetsNothingStandThatAFormerHolderWrites) {
    given_a_row();
    ASSERT_TRUE(lease.hold(*system.owner).value());
    for (const char* loss :
         {"UPDATE instep_lease SET epoch = epoch + 1",
          "UPDATE instep_lease SET epoch = epoch - 1, owner = 'ben'", "DELETE FROM instep_lease"}) {
        run_sql(*system.owner, loss);
        const auto late = write();
        ASSERT_FALSE(late);
        EXPECT_EQ(late.error().code, ErrorCode::kFenced) << late.error().message;
    }
    EXPECT_EQ(value_of(*system.owner, "SELECT email FROM users"), "a");
}

TEST_P(LeaseRequireTest, FailsTheCommitWhereNothingElseIsDone) {
    ASSERT_TRUE(lease.hold(*system.owner).value());
    run_sql(*system.owner, "DELETE FROM instep_lease");
    auto transaction = Transaction::begin(*system.owner, TransactionMode::kWrite);
    auto late = lease.require(*transaction);
    late = late ? transaction->commit() : late;
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::kFenced) << late.error().message;
}

INSTANTIATE_TEST_SUITE_P(On, LeaseRequireTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         [](const auto& home) {
                             return home.param == Home::kSqlite ? "sqlite" : "postgres";
                         });

}  // namespace
}  // namespace instep
