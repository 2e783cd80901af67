#include "instruments.hpp"

#include "tests/support/manual_clock.hpp"
#include "tests/support/recorded_spans.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;

class RelayInstrumentsTest : public testing::Test {
protected:
    /// Tells of a batch of which so many events got through, in a second.
    void publish(std::string_view topic, std::span<const Event> events, std::size_t durable) {
        PublishOutcome outcome{durable, {}};
        if (durable < events.size()) {
            outcome.failure = Error{ErrorCode::kUnavailable, "the broker is gone"};
        }
        const Timestamp began = instruments_.now();
        clock_.advance(1s);
        instruments_.published({topic, 0, events, 1}, outcome, began);
    }

    /// Of a trace each, appended now.
    std::vector<Event> events(std::size_t count) {
        std::vector<Event> made(count);
        for (Event& event : made) {
            event.time = clock_.now();
            event.trace_parent = to_trace_parent(start_trace(random_));
        }
        return made;
    }

    std::uint64_t published(const std::string& topic) {
        return metrics_
            .counter("instep_published_total", "", {{"service", "shop"}, {"topic", topic}})
            .value();
    }

    test::ManualClock clock_;
    SeededRandom random_{1};
    MetricsRegistry metrics_;
    test::RecordedSpans spans_;
    Telemetry telemetry_{"shop", clock_, random_, metrics_, &spans_};
    RelayInstruments instruments_{&telemetry_};
};

TEST_F(RelayInstrumentsTest, CountsWhatIsDurableAndTellsOfTheRest) {
    publish("shop.order", events(3), 2);
    EXPECT_EQ(published("shop.order"), 2U);
    EXPECT_EQ(metrics_.counter("instep_publish_failures_total", "", {{"service", "shop"}}).value(),
              1U);
    const Histogram& delay = metrics_.histogram("instep_publish_delay_seconds", "", kDelayBounds,
                                                {{"service", "shop"}, {"topic", "shop.order"}});
    EXPECT_EQ(delay.count(), 2U);
    EXPECT_DOUBLE_EQ(delay.sum(), 2);
    ASSERT_EQ(spans_.all.size(), 3U);
    int failed = 0;
    for (const Span& span : spans_.all) {
        EXPECT_EQ(span.end - span.start, 1s);
        failed += span.error == "the broker is gone" ? 1 : 0;
    }
    EXPECT_EQ(failed, 1);
}

TEST_F(RelayInstrumentsTest, ChunksAreNoEvents) {
    std::vector<Event> batch = events(2);
    batch[0].operation = Operation::kChunk;
    publish("shop.order", batch, 2);
    EXPECT_EQ(published("shop.order"), 1U);
}

TEST_F(RelayInstrumentsTest, TopicsBeyondABoundCountAsOne) {
    const std::vector<Event> one = events(1);
    for (int i = 0; i < 300; ++i) {
        publish(fmt::format("shop.topic_{}", i), one, 1);
    }
    EXPECT_EQ(published("shop.topic_0"), 1U);
    EXPECT_EQ(published("other"), 100U);
}

TEST_F(RelayInstrumentsTest, WithoutTelemetryNothingHappens) {
    RelayInstruments silent(nullptr);
    silent.published({"shop.order", 0, events(1), 1}, {1, {}}, silent.now());
    EXPECT_EQ(published("shop.order"), 0U);
}

}  // namespace
}  // namespace instep
