#include "instruments.hpp"

#include "instep/telemetry/batch_spans.hpp"

#include <algorithm>
#include <vector>

namespace instep {

namespace {

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
