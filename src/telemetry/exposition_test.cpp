#include "instep/telemetry/metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace instep {
namespace {

using testing::HasSubstr;

constexpr double kBounds[] = {0.5, 2, 4};

TEST(Exposition, WritesThePrometheusFormat) {
    MetricsRegistry registry;
    registry.counter("instep_b_total", "Events\\published\nso far").increment(3);
    registry.gauge("instep_a_lag", "Lag", {{"topic", "say \"hi\"\\\n"}}).set(0.5);
    Histogram& delay = registry.histogram("instep_c_seconds", "Delay", kBounds, {{"topic", "t"}});
    delay.observe(0.5);
    delay.observe(1.5);
    delay.observe(100);
    EXPECT_EQ(registry.to_text(MetricsFormat::kPrometheus),
              "# HELP instep_a_lag Lag\n"
              "# TYPE instep_a_lag gauge\n"
              "instep_a_lag{topic=\"say \\\"hi\\\"\\\\\\n\"} 0.5\n"
              "# HELP instep_b_total Events\\\\published\\nso far\n"
              "# TYPE instep_b_total counter\n"
              "instep_b_total 3\n"
              "# HELP instep_c_seconds Delay\n"
              "# TYPE instep_c_seconds histogram\n"
              "instep_c_seconds_bucket{topic=\"t\",le=\"0.5\"} 1\n"
              "instep_c_seconds_bucket{topic=\"t\",le=\"2\"} 2\n"
              "instep_c_seconds_bucket{topic=\"t\",le=\"4\"} 2\n"
              "instep_c_seconds_bucket{topic=\"t\",le=\"+Inf\"} 3\n"
              "instep_c_seconds_sum{topic=\"t\"} 102\n"
              "instep_c_seconds_count{topic=\"t\"} 3\n");
}

TEST(Exposition, SpellsNumbersBeyondTheFiniteOnes) {
    MetricsRegistry registry;
    Gauge& gauge = registry.gauge("instep_a", "A");
    gauge.set(std::numeric_limits<double>::infinity());
    EXPECT_THAT(registry.to_text(MetricsFormat::kPrometheus), HasSubstr("instep_a +Inf\n"));
    gauge.set(-std::numeric_limits<double>::infinity());
    EXPECT_THAT(registry.to_text(MetricsFormat::kPrometheus), HasSubstr("instep_a -Inf\n"));
    gauge.set(std::numeric_limits<double>::quiet_NaN());
    EXPECT_THAT(registry.to_text(MetricsFormat::kPrometheus), HasSubstr("instep_a NaN\n"));
}

TEST(Exposition, WritesOpenMetrics) {
    MetricsRegistry registry;
    registry.counter("instep_b_total", "Events \"published\"").increment(3);
    registry.gauge("instep_a_lag", "Lag").set(2);
    registry.histogram("instep_c_seconds", "Delay", kBounds).observe(1);
    EXPECT_EQ(registry.to_text(MetricsFormat::kOpenMetrics),
              "# HELP instep_a_lag Lag\n"
              "# TYPE instep_a_lag gauge\n"
              "instep_a_lag 2\n"
              "# HELP instep_b Events \\\"published\\\"\n"
              "# TYPE instep_b counter\n"
              "instep_b_total 3\n"
              "# HELP instep_c_seconds Delay\n"
              "# TYPE instep_c_seconds histogram\n"
              "instep_c_seconds_bucket{le=\"0.5\"} 0\n"
              "instep_c_seconds_bucket{le=\"2.0\"} 1\n"
              "instep_c_seconds_bucket{le=\"4.0\"} 1\n"
              "instep_c_seconds_bucket{le=\"+Inf\"} 1\n"
              "instep_c_seconds_sum 1\n"
              "instep_c_seconds_count 1\n"
              "# EOF\n");
}

TEST(Exposition, IsInTheFormatThatTheClientWants) {
    const auto open = [](std::string_view accept) {
        return choose_metrics_format(accept) == MetricsFormat::kOpenMetrics;
    };
    // What Prometheus 2.42 sends.
    EXPECT_TRUE(
        open("application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
             "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
    EXPECT_TRUE(open("text/plain;q=0.5 , application/openmetrics-text ; q=0.5"));
    EXPECT_FALSE(open("application/openmetrics-text;q=0.3, text/plain"));
    EXPECT_FALSE(open("application/openmetrics-text;version=0.0.1"));
    EXPECT_FALSE(open("application/openmetrics-text;q=0"));
    for (const char* const other : {"", "*/*", "text/html", ",;,;q=;", "application/openmetrics"}) {
        EXPECT_FALSE(open(other)) << other;
    }
}

}  // namespace
}  // namespace instep
