#include "instruments.hpp"

#include "instep/telemetry/batch_spans.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace instep {

namespace {

constexpr std::array kHalts = {HaltKind::kPaused, HaltKind::kCircuitOpen, HaltKind::kFailedEvent,
                               HaltKind::kParkedLimit};
constexpr std::array kCircuits = {CircuitState::kClosed, CircuitState::kOpen,
                                  CircuitState::kHalfOpen};

double seconds(std::chrono::microseconds time) {
    return std::max(std::chrono::duration<double>(time).count(), 0.0);
}

}  // namespace

ConsumerInstruments::ConsumerInstruments(const Telemetry* telemetry, std::string_view subscription,
                                         std::string_view topic, bool handler_records_spans)
    : telemetry_(telemetry),
      subscription_(subscription),
      topic_(topic),
      records_spans_(telemetry != nullptr && telemetry->spans != nullptr &&
                     !handler_records_spans) {
    if (telemetry == nullptr) {
        return;
    }
    MetricsRegistry& metrics = telemetry->metrics;
    const auto processed = [&](std::string status) {
        return &metrics.counter("instep_processed_total",
                                "Events dealt with, by what became of them; failed counts attempts",
                                {{"service", telemetry->service},
                                 {"subscription", subscription_},
                                 {"status", std::move(status)}});
    };
    applied_ = processed("applied");
    duplicates_ = processed("duplicate");
    stale_ = processed("stale");
    not_addressed_ = processed("not_addressed");
    discarded_ = processed("discarded");
    failed_ = processed("failed");
    retries_ = &metrics.counter("instep_retries_total",
                                "Attempts at parked keys, the first one not counted",
                                {{"service", telemetry->service}, {"subscription", subscription_}});
    duration_ = &metrics.histogram(
        "instep_process_duration_seconds", "From a batch's receipt to its commit", kDelayBounds,
        {{"service", telemetry->service}, {"subscription", subscription_}});
    delay_ = &metrics.histogram(
        "instep_process_delay_seconds", "From an event's append at its owner to its commit here",
        kDelayBounds, {{"service", telemetry->service}, {"subscription", subscription_}});
    parked_bytes_ = &metrics.gauge(
        "instep_parked_bytes", "Bytes of what is parked or skipped, as this process knows it",
        {{"service", telemetry->service}, {"subscription", subscription_}});
    halted(std::nullopt);
}

Timestamp ConsumerInstruments::now() const {
    return telemetry_ == nullptr ? Timestamp{} : telemetry_->clock.now();
}

void ConsumerInstruments::committed(const ApplyCounts& counts) {
    if (telemetry_ == nullptr) {
        return;
    }
    applied_->increment(counts.applied);
    duplicates_->increment(counts.duplicates_ignored);
    stale_->increment(counts.stale_ignored);
    not_addressed_->increment(counts.not_addressed);
    discarded_->increment(counts.discarded);
}

void ConsumerInstruments::applied(std::span<const Delivery> batch, Timestamp began) {
    if (telemetry_ == nullptr) {
        return;
    }
    const Timestamp ended = now();
    duration_->observe(seconds(ended - began));
    for (const Delivery& delivery : batch) {
        if (!delivery.malformed && !speaks_of_range(delivery.event.operation)) {
            delay_->observe(seconds(ended - delivery.event.time));
        }
    }
    if (records_spans_) {
        record_spans(batch, began, ended);
    }
}

void ConsumerInstruments::failed() {
    if (telemetry_ != nullptr) {
        failed_->increment();
    }
}

void ConsumerInstruments::retried() {
    if (telemetry_ != nullptr) {
        retries_->increment();
    }
}

void ConsumerInstruments::halted(std::optional<HaltKind> by) {
    if (telemetry_ == nullptr) {
        return;
    }
    for (const HaltKind kind : kHalts) {
        telemetry_->metrics
            .gauge("instep_subscription_halted",
                   "1 for what keeps a subscription from taking events, else 0",
                   {{"service", telemetry_->service},
                    {"subscription", subscription_},
                    {"kind", std::string(to_string(kind))}})
            .set(kind == by ? 1 : 0);
        telemetry_->metrics
            .counter("instep_halts_total", "How often a subscription was kept from taking events",
                     {{"service", telemetry_->service},
                      {"subscription", subscription_},
                      {"kind", std::string(to_string(kind))}})
            .increment(kind == by ? 1 : 0);
    }
}

void ConsumerInstruments::circuit(CircuitState state) {
    if (telemetry_ == nullptr || circuit_ == state) {
        return;
    }
    circuit_ = state;
    for (const CircuitState each : kCircuits) {
        telemetry_->metrics
            .gauge("instep_circuit_state", "1 for the state of a subscription's circuit, else 0",
                   {{"service", telemetry_->service},
                    {"subscription", subscription_},
                    {"state", std::string(to_string(each))}})
            .set(each == state ? 1 : 0);
    }
}

void ConsumerInstruments::parked(std::uint64_t bytes) {
    if (telemetry_ != nullptr) {
        parked_bytes_->set(static_cast<double>(bytes));
    }
}

void ConsumerInstruments::record_spans(std::span<const Delivery> batch, Timestamp began,
                                       Timestamp ended) const {
    std::vector<const Event*> events;
    events.reserve(batch.size());
    for (const Delivery& delivery : batch) {
        if (!delivery.malformed) {
            events.push_back(&delivery.event);
        }
    }
    Span span = messaging_span(*telemetry_, "process", topic_);
    span.start = began;
    span.end = ended;
    span.attributes.emplace_back("messaging.consumer.group.name", subscription_);
    record_by_trace(*telemetry_, span, events);
}

}  // namespace instep
