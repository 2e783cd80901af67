#include "health.hpp"

#include <gtest/gtest.h>

namespace instep::cli {
namespace {

using std::chrono::seconds;

constexpr Timestamp kNow{std::chrono::hours(1)};

/// An owner whose log is relayed, and a service with a live replica of it.
class HealthTest : public testing::Test {
protected:
    HealthTest() : services_(2) {
        services_[0].config.name = services_[0].status.service = "iam";
        services_[0].status.relay_owner = "host/1";
        services_[1].config.name = services_[1].status.service = "data-owner";
        ReplicaDefinition replica;
        replica.service = "data-owner";
        replica.topic = "iam.user";
        replica.table = "lookup_users";
        services_[1].config.replicas = {replica};
        services_[1].status.replicas.resize(1);
        services_[1].status.replicas[0].table = "lookup_users";
        services_[1].status.replicas[0].state = ReplicaState::kLive;
    }

    ServiceStatus& owner() { return services_[0].status; }
    ServiceStatus& reader() { return services_[1].status; }

    static SubscriptionLag lag(std::uint64_t events, seconds age) {
        SubscriptionLag lag;
        lag.subscription = "data-owner.lookup_users";
        lag.topic = "iam.user";
        lag.events = events;
        lag.oldest = kNow - age;
        return lag;
    }

    [[nodiscard]] Health judge() const { return judge_health(services_, kNow); }

    std::vector<ObservedService> services_;
};

TEST_F(HealthTest, IsWellWhenNothingWaits) {
    const Health health = judge();
    EXPECT_TRUE(health.healthy);
    EXPECT_TRUE(health.caught_up);
    EXPECT_EQ(health.sentence, "The replica is caught up.");
}

TEST_F(HealthTest, AShortLagIsNoIllness) {
    reader().subscriptions = {lag(1204, seconds(3))};
    const Health health = judge();
    EXPECT_TRUE(health.healthy);
    EXPECT_FALSE(health.caught_up);
    EXPECT_EQ(health.sentence, "data-owner.lookup_users is 1,204 events (3.0 s) behind.");
}

TEST_F(HealthTest, AnOldEventThatWaitsIs) {
    reader().subscriptions = {lag(1, seconds(61))};
    EXPECT_FALSE(judge().healthy);
}

TEST_F(HealthTest, ALogThatNobodyRelaysIsIllAtOnce) {
    owner().log_lag = {1, kNow};
    owner().relay_owner.reset();
    const Health health = judge();
    EXPECT_FALSE(health.healthy);
    EXPECT_EQ(health.sentence, "relay of iam is 1 event (0.0 s) behind and has no holder.");
}

TEST_F(HealthTest, AServiceAtRestNeedsNoRelay) {
    owner().relay_owner.reset();
    EXPECT_TRUE(judge().healthy);
}

TEST_F(HealthTest, AScanThatNobodyCarriesOnIsIll) {
    owner().relay_owner.reset();
    owner().scans.resize(1);
    owner().scans[0].state = "open";
    EXPECT_FALSE(judge().healthy);
}

TEST_F(HealthTest, ASubscriptionThatOwnerAndReaderTellOfCountsOnce) {
    owner().subscriptions = {lag(2, seconds(1))};
    reader().subscriptions = {lag(2, seconds(1))};
    EXPECT_EQ(judge().sentence, "data-owner.lookup_users is 2 events (1.0 s) behind.");
}

TEST_F(HealthTest, PartitionsOfOneSubscriptionAddUp) {
    SubscriptionLag other = lag(3, seconds(2));
    other.partition = 1;
    reader().subscriptions = {lag(2, seconds(1)), other};
    EXPECT_EQ(judge().sentence, "data-owner.lookup_users is 5 events (2.0 s) behind.");
}

TEST_F(HealthTest, AReplicaThatFillsIsNotCaughtUpButWell) {
    reader().replicas[0].state = ReplicaState::kFilling;
    reader().replicas[0].filled_rows = 4000;
    const Health health = judge();
    EXPECT_TRUE(health.healthy);
    EXPECT_FALSE(health.caught_up);
    EXPECT_EQ(health.sentence, "data-owner.lookup_users is filling (4,000 rows so far).");
}

TEST_F(HealthTest, ARefusedReplicaIsIll) {
    reader().replicas[0].state = ReplicaState::kRefused;
    reader().replicas[0].problem = "iam.user/1 does not publish column phone";
    EXPECT_FALSE(judge().healthy);
}

TEST_F(HealthTest, AReplicaThatNeverRanIsNotCaughtUp) {
    reader().replicas.clear();
    EXPECT_FALSE(judge().caught_up);
}

TEST_F(HealthTest, AParkedKeyWaitsForAPerson) {
    reader().parked.resize(2);
    reader().parked[0].subscription = reader().parked[1].subscription = "data-owner.lookup_users";
    const Health health = judge();
    EXPECT_FALSE(health.healthy);
    EXPECT_FALSE(health.caught_up);
    EXPECT_EQ(health.sentence, "data-owner.lookup_users has 2 parked keys.");
}

}  // namespace
}  // namespace instep::cli
