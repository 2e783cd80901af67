#include "instruments.hpp"

#include "tests/support/manual_clock.hpp"
#include "tests/support/recorded_spans.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::Pair;
using testing::VariantWith;

class ConsumerInstrumentsTest : public testing::Test {
protected:
    ConsumerInstruments make(bool handler_records_spans = false) {
        return {&telemetry_, "crm.lookup_users", "iam.user", handler_records_spans};
    }

    /// Two events, appended now, of one trace.
    std::vector<Delivery> batch() {
        const TraceContext trace = start_trace(random_);
        std::vector<Delivery> made(2);
        for (Delivery& delivery : made) {
            delivery.event.time = clock_.now();
            delivery.event.trace_parent = to_trace_parent(child_of(trace, random_));
        }
        return made;
    }

    std::uint64_t processed(const std::string& status) {
        return metrics_
            .counter("instep_processed_total", "",
                     {{"service", "crm"}, {"subscription", "crm.lookup_users"}, {"status", status}})
            .value();
    }

    /// The value of a series of the subscription.
    double value(const std::string& name, const std::string& label, const std::string& of) {
        for (const MetricSample& sample : metrics_.snapshot()) {
            if (sample.name == name && testing::Value(sample.labels, Contains(Pair(label, of)))) {
                return sample.value;
            }
        }
        ADD_FAILURE() << "no " << name << " of " << of;
        return -1;
    }

    std::uint64_t retries() {
        return metrics_
            .counter("instep_retries_total", "",
                     {{"service", "crm"}, {"subscription", "crm.lookup_users"}})
            .value();
    }

    test::ManualClock clock_;
    SeededRandom random_{1};
    MetricsRegistry metrics_;
    test::RecordedSpans spans_;
    Telemetry telemetry_{"crm", clock_, random_, metrics_, &spans_};
};

TEST_F(ConsumerInstrumentsTest, CountsByWhatBecameOfTheEvents) {
    ConsumerInstruments instruments = make();
    instruments.committed({1, 2, 3, 4, 5});
    instruments.failed();
    instruments.retried();
    EXPECT_EQ(processed("applied"), 1U);
    EXPECT_EQ(processed("duplicate"), 2U);
    EXPECT_EQ(processed("stale"), 3U);
    EXPECT_EQ(processed("not_addressed"), 4U);
    EXPECT_EQ(processed("discarded"), 5U);
    EXPECT_EQ(processed("failed"), 1U);
    EXPECT_EQ(retries(), 1U);
}

TEST_F(ConsumerInstrumentsTest, MeasuresFromTheAppendAndSkipsWhatIsNoEvent) {
    ConsumerInstruments instruments = make();
    std::vector<Delivery> received = batch();
    received.emplace_back().malformed = Error{ErrorCode::kCorrupt, "no event"};
    received.emplace_back().event.operation = Operation::kDigest;
    clock_.advance(3s);
    const Timestamp began = instruments.now();
    clock_.advance(1s);
    instruments.applied(received, began);
    const Histogram& delay =
        metrics_.histogram("instep_process_delay_seconds", "", kDelayBounds,
                           {{"service", "crm"}, {"subscription", "crm.lookup_users"}});
    EXPECT_EQ(delay.count(), 2U);
    EXPECT_DOUBLE_EQ(delay.sum(), 8);
}

TEST_F(ConsumerInstrumentsTest, ABatchHasASpanUnlessItsHandlerSeesToThat) {
    make(true).applied(batch(), clock_.now());
    EXPECT_TRUE(spans_.all.empty());
    make().applied(batch(), clock_.now());
    ASSERT_EQ(spans_.all.size(), 1U);
    EXPECT_EQ(spans_.all[0].name, "process iam.user");
    EXPECT_EQ(spans_.all[0].links.size(), 1U);
    EXPECT_THAT(spans_.all[0].attributes,
                Contains(Pair("messaging.consumer.group.name",
                              VariantWith<std::string>("crm.lookup_users"))));
}

TEST_F(ConsumerInstrumentsTest, ShowsWhatHaltsASubscription) {
    ConsumerInstruments instruments = make();
    EXPECT_EQ(value("instep_subscription_halted", "kind", "parked_limit"), 0);
    instruments.halted(HaltKind::kFailedEvent);
    EXPECT_EQ(value("instep_subscription_halted", "kind", "failed_event"), 1);
    EXPECT_EQ(value("instep_subscription_halted", "kind", "paused"), 0);
    instruments.halted(HaltKind::kPaused);
    EXPECT_EQ(value("instep_subscription_halted", "kind", "failed_event"), 0);
    instruments.halted(std::nullopt);
    EXPECT_EQ(value("instep_subscription_halted", "kind", "paused"), 0);
    EXPECT_EQ(value("instep_halts_total", "kind", "paused"), 1);
    EXPECT_EQ(value("instep_halts_total", "kind", "circuit_open"), 0);
}

TEST_F(ConsumerInstrumentsTest, ShowsTheCircuitAndWhatIsParked) {
    ConsumerInstruments instruments = make();
    instruments.circuit(CircuitState::kClosed);
    instruments.circuit(CircuitState::kOpen);
    EXPECT_EQ(value("instep_circuit_state", "state", "closed"), 0);
    EXPECT_EQ(value("instep_circuit_state", "state", "open"), 1);
    instruments.parked(500);
    instruments.parked(300);
    EXPECT_EQ(value("instep_parked_bytes", "subscription", "crm.lookup_users"), 300);
}

TEST_F(ConsumerInstrumentsTest, WithoutTelemetryNothingHappens) {
    ConsumerInstruments silent(nullptr, "crm.lookup_users", "iam.user", false);
    silent.committed({1, 2, 3, 4, 5});
    silent.applied(batch(), silent.now());
    silent.failed();
    silent.retried();
    silent.halted(HaltKind::kPaused);
    silent.circuit(CircuitState::kOpen);
    silent.parked(1);
    EXPECT_TRUE(spans_.all.empty());
}

}  // namespace
}  // namespace instep
