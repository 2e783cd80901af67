#include "instep/lease/lease.hpp"

#include "tests/support/sync_system.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::SyncSystem;

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

}  // namespace
}  // namespace instep
