#include "instep/telemetry/metrics.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace instep {
namespace {

constexpr double kBounds[] = {1, 2, 4};

TEST(Metrics, AreOneSeriesForOneNameAndOneSetOfLabels) {
    MetricsRegistry registry;
    Counter& first = registry.counter("instep_a_total", "A", {{"x", "1"}, {"y", "2"}});
    EXPECT_EQ(&registry.counter("instep_a_total", "A", {{"y", "2"}, {"x", "1"}}), &first);
    EXPECT_NE(&registry.counter("instep_a_total", "A", {{"x", "1"}, {"y", "3"}}), &first);
}

TEST(Metrics, StayWhereTheyAreWhileOthersAreMade) {
    MetricsRegistry registry;
    Gauge& gauge = registry.gauge("instep_level", "Level", {{"topic", "0"}});
    gauge.set(7);
    for (int i = 1; i < 1000; ++i) {
        registry.gauge("instep_level", "Level", {{"topic", std::to_string(i)}});
    }
    EXPECT_EQ(&registry.gauge("instep_level", "Level", {{"topic", "0"}}), &gauge);
    EXPECT_EQ(gauge.value(), 7);
}

TEST(MetricsDeathTest, EndTheProcessIfOneNameHasTwoKinds) {
    MetricsRegistry registry;
    registry.counter("instep_a_total", "A");
    EXPECT_DEATH(registry.gauge("instep_a_total", "A"), "two kinds");
}

TEST(Metrics, CountEveryIncrementOfSeveralThreads) {
    constexpr std::uint64_t kIncrements = 20'000;
    MetricsRegistry registry;
    Counter& counter = registry.counter("instep_a_total", "A");
    Gauge& gauge = registry.gauge("instep_b", "B");
    Histogram& histogram = registry.histogram("instep_c", "C", kBounds);
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&] {
                for (std::uint64_t j = 0; j < kIncrements; ++j) {
                    counter.increment();
                    gauge.add(1);
                    histogram.observe(1);
                }
            });
        }
    }
    EXPECT_EQ(counter.value(), 4 * kIncrements);
    EXPECT_EQ(gauge.value(), 4.0 * kIncrements);
    EXPECT_EQ(histogram.count(), 4 * kIncrements);
    EXPECT_EQ(histogram.sum(), 4.0 * kIncrements);
}

TEST(Metrics, GiveASnapshotForJson) {
    MetricsRegistry registry;
    registry.counter("instep_a_total", "A", {{"topic", "t"}}).increment(5);
    registry.histogram("instep_b_seconds", "B", kBounds).observe(2);
    const std::vector<MetricSample> samples = registry.snapshot();
    ASSERT_EQ(samples.size(), 2U);
    EXPECT_EQ(samples[0].kind, "counter");
    EXPECT_EQ(samples[0].labels.at(0), (std::pair<std::string, std::string>("topic", "t")));
    EXPECT_EQ(samples[0].value, 5);
    EXPECT_EQ(samples[1].kind, "histogram");
    EXPECT_EQ(samples[1].value, 1);
    EXPECT_EQ(samples[1].sum, 2);
    EXPECT_EQ(samples[1].p50, 1.5);
}

TEST(Histogram, CountsAValueOnABoundInItsBucket) {
    Histogram histogram(kBounds);
    for (const double value : {0.0, 1.0, 1.1, 2.0, 4.0, 4.1}) {
        histogram.observe(value);
    }
    EXPECT_EQ(histogram.buckets(), (std::vector<std::uint64_t>{2, 2, 1, 1}));
}

TEST(Histogram, InterpolatesQuantilesWithinABucket) {
    Histogram histogram(kBounds);
    for (int i = 0; i < 10; ++i) {
        histogram.observe(0.5);
        histogram.observe(3);
    }
    EXPECT_DOUBLE_EQ(histogram.quantile(0.25).value(), 0.5);
    EXPECT_DOUBLE_EQ(histogram.quantile(0.5).value(), 1.0);
    EXPECT_DOUBLE_EQ(histogram.quantile(0.75).value(), 3.0);
    EXPECT_DOUBLE_EQ(histogram.quantile(1).value(), 4.0);
}

TEST(Histogram, AnswersWithTheLastBoundForWhatIsAboveIt) {
    Histogram histogram(kBounds);
    histogram.observe(1000);
    EXPECT_EQ(histogram.quantile(0.5), 4);
}

TEST(Histogram, HasNoQuantileWithoutObservations) {
    EXPECT_EQ(Histogram(kBounds).quantile(0.5), std::nullopt);
}

}  // namespace
}  // namespace instep
