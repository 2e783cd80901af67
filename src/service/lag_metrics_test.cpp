#include "lag_metrics.hpp"

#include "tests/support/manual_clock.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace instep {
namespace {

using namespace std::chrono_literals;

class LagMetricsTest : public testing::Test {
protected:
    double relay_age() {
        lag_.measure();
        return metrics_.gauge("instep_relay_lag_seconds", "", {{"service", "shop"}}).value();
    }

    double age() {
        lag_.measure();
        return metrics_
            .gauge("instep_lag_seconds", "", {{"service", "shop"}, {"subscription", "shop.mail"}})
            .value();
    }

    double gauge(MetricName name) {
        return metrics_.gauge(name, "", {{"service", "shop"}, {"subscription", "shop.mail"}})
            .value();
    }

    SubscriptionLag lag_of(std::uint32_t partition, std::uint64_t events,
                           std::optional<Timestamp> oldest) {
        return {.subscription = "shop.mail",
                .topic = "shop.order",
                .partition = partition,
                .events = events,
                .oldest = oldest};
    }

    test::ManualClock clock_;
    SeededRandom random_{1};
    MetricsRegistry metrics_;
    Telemetry telemetry_{
        .service = "shop", .clock = clock_, .random = random_, .metrics = metrics_};
    LagMetrics lag_{telemetry_};
};

TEST_F(LagMetricsTest, TheAgeOfWhatWaitsGrowsAlsoWhileNobodyLooks) {
    lag_.saw_log({.events = 2, .oldest = clock_.now() - 10s});
    EXPECT_DOUBLE_EQ(relay_age(), 10);
    clock_.advance(5s);
    EXPECT_DOUBLE_EQ(relay_age(), 15);
    lag_.saw_log({});
    EXPECT_DOUBLE_EQ(relay_age(), 0);
}

TEST_F(LagMetricsTest, PartitionsAddUpAndTheOldestEventOfAllCounts) {
    const std::array lags = {lag_of(0, 3, clock_.now() - 1s), lag_of(1, 4, clock_.now() - 7s),
                             lag_of(2, 0, std::nullopt)};
    lag_.saw_subscriptions(lags);
    EXPECT_DOUBLE_EQ(gauge("instep_lag_events"), 7);
    EXPECT_DOUBLE_EQ(age(), 7);
}

TEST_F(LagMetricsTest, AnAgeThatTheBrokerCannotTellIsNoNumber) {
    const std::array lags = {lag_of(0, 3, std::nullopt)};
    lag_.saw_subscriptions(lags);
    EXPECT_TRUE(std::isnan(age()));
}

TEST_F(LagMetricsTest, ParkedKeysGoBackToNone) {
    const std::array lags = {lag_of(0, 0, std::nullopt)};
    lag_.saw_subscriptions(lags);
    const std::array parked = {ParkedCounts{"shop.mail", 3, 2}};
    lag_.saw_parked(parked);
    EXPECT_DOUBLE_EQ(gauge("instep_parked_keys"), 3);
    EXPECT_DOUBLE_EQ(gauge("instep_dead_letters"), 2);
    lag_.saw_parked({});
    EXPECT_DOUBLE_EQ(gauge("instep_parked_keys"), 0);
    EXPECT_DOUBLE_EQ(gauge("instep_dead_letters"), 0);
}

}  // namespace
}  // namespace instep
