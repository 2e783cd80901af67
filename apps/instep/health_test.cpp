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

TEST_F(HealthTest, AReplayIsIllOnlyIfItDoesNotMove) {
    reader().subscriptions = {lag(1204, seconds(3000))};
    ReplayStatus replay;
    replay.subscription = "data-owner.lookup_users";
    replay.state = "running";
    replay.moved = kNow - seconds(3);
    reader().replays = {replay};
    EXPECT_TRUE(judge().healthy);
    EXPECT_FALSE(judge().caught_up);
    EXPECT_EQ(judge().flows.back().state, "replaying");
    reader().replays[0].moved = kNow - seconds(300);
    EXPECT_FALSE(judge().healthy);
    reader().subscriptions.clear();
    reader().replays[0].state = "asked";
    EXPECT_FALSE(judge().healthy) << "nobody takes it up";
    EXPECT_FALSE(judge().caught_up);
    reader().subscriptions = {lag(1204, seconds(3000))};
    reader().replays[0].state = "done";
    EXPECT_FALSE(judge().healthy) << "what waits is old";
}

TEST_F(HealthTest, ASpentWalBudgetIsToldInTwoSteps) {
    WalSlotStatus slot;
    slot.name = "instep_iam";
    slot.state = "streaming";
    slot.budget_bytes = 1000;
    slot.retained_bytes = 520;
    slot.alarm = WalAlarm::kHalf;
    owner().wal_slot = slot;
    EXPECT_TRUE(judge().healthy);
    EXPECT_TRUE(judge().caught_up);
    EXPECT_EQ(judge().sentence, "relay of iam has spent 52 % of its WAL budget.");
    owner().wal_slot->retained_bytes = 810;
    owner().wal_slot->alarm = WalAlarm::kHigh;
    EXPECT_FALSE(judge().healthy);
    EXPECT_EQ(judge().sentence, "relay of iam has spent 81 % of its WAL budget.");
}

TEST_F(HealthTest, ALostSlotIsIll) {
    owner().wal_slot = WalSlotStatus{};
    owner().wal_slot->name = "instep_iam";
    owner().wal_slot->state = "lost";
    EXPECT_FALSE(judge().healthy);
    EXPECT_FALSE(judge().caught_up);
    EXPECT_EQ(judge().sentence,
              "relay of iam finds slot instep_iam lost and will fill replicas again.");
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

TEST_F(HealthTest, APauseIsNoIllnessButItsLagIs) {
    reader().halts = {{"data-owner.lookup_users", {}, {HaltKind::kPaused, "paused by ada", kNow}}};
    EXPECT_TRUE(judge().healthy);
    EXPECT_TRUE(judge().caught_up);
    EXPECT_EQ(judge().flows.back().state, "paused");
    EXPECT_EQ(judge().sentence, "data-owner.lookup_users is paused by ada.");
    reader().subscriptions = {lag(5, seconds(300))};
    EXPECT_FALSE(judge().healthy);
    EXPECT_FALSE(judge().caught_up);
}

TEST_F(HealthTest, AnOpenCircuitIsToldOnceWhateverHoldersSayIt) {
    const Halt open{HaltKind::kCircuitOpen, "no mail server", kNow};
    reader().halts = {{"data-owner.lookup_users", 0, open}, {"data-owner.lookup_users", 1, open}};
    EXPECT_FALSE(judge().healthy);
    EXPECT_EQ(judge().sentence, "data-owner.lookup_users takes no events (no mail server).");
}

TEST_F(HealthTest, ASkippedEventIsToldAndHoldsNothingUp) {
    ParkedKey skipped;
    skipped.subscription = "data-owner.mail";
    skipped.skipped = kNow;
    reader().parked = {skipped};
    EXPECT_TRUE(judge().healthy);
    EXPECT_TRUE(judge().caught_up);
    EXPECT_EQ(judge().sentence, "data-owner.mail has 1 skipped event.");
}

}  // namespace
}  // namespace instep::cli
