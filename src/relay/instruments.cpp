#include "instruments.hpp"

#include "instep/telemetry/batch_spans.hpp"

#include <algorithm>
#include <vector>

namespace instep {

namespace {

/// Topics come from whoever appends, so their number is bounded here: what comes later counts as
/// one.
constexpr std::size_t kTopicsMax = 200;
constexpr std::string_view kOtherTopics = "other";

double seconds(std::chrono::microseconds time) {
    return std::max(std::chrono::duration<double>(time).count(), 0.0);
}

void record_part(const Telemetry& telemetry, const Span& like, std::span<const Event> events) {
    std::vector<const Event*> part;
    part.reserve(events.size());
    for (const Event& event : events) {
        part.push_back(&event);
    }
    record_by_trace(telemetry, like, part);
}

}  // namespace

RelayInstruments::RelayInstruments(const Telemetry* telemetry) : telemetry_(telemetry) {
    if (telemetry != nullptr) {
        failures_ = &telemetry->metrics.counter("instep_publish_failures_total",
                                                "Batches that the broker did not take in full",
                                                {{"service", telemetry->service}});
        duration_ = &telemetry->metrics.histogram("instep_publish_duration_seconds",
                                                  "How long the broker took to confirm a batch",
                                                  kDelayBounds, {{"service", telemetry->service}});
    }
}

Timestamp RelayInstruments::now() const {
    return telemetry_ == nullptr ? Timestamp{} : telemetry_->clock.now();
}

void RelayInstruments::published(const PublishBatch& batch, const PublishOutcome& outcome,
                                 Timestamp began) {
    if (telemetry_ == nullptr) {
        return;
    }
    const Timestamp ended = now();
    duration_->observe(seconds(ended - began));
    if (outcome.durable < batch.events.size()) {
        failures_->increment();
    }
    TopicSeries& topic = series_of(batch.topic);
    for (const Event& event : batch.events.first(outcome.durable)) {
        if (!speaks_of_range(event.operation)) {
            topic.published.increment();
            topic.delay.observe(seconds(ended - event.time));
        }
    }
    if (telemetry_->spans != nullptr) {
        record_spans(batch, outcome, began, ended);
    }
}

RelayInstruments::TopicSeries& RelayInstruments::series_of(std::string_view topic) {
    if (const auto known = topics_.find(topic); known != topics_.end()) {
        return known->second;
    }
    const std::string name(topics_.size() < kTopicsMax ? topic : kOtherTopics);
    MetricsRegistry& metrics = telemetry_->metrics;
    const TopicSeries series{
        metrics.counter("instep_published_total",
                        "Events that the broker has confirmed; repeats after a crash count again",
                        {{"service", telemetry_->service}, {"topic", name}}),
        metrics.histogram("instep_publish_delay_seconds",
                          "From an event's append to the broker's confirmation", kDelayBounds,
                          {{"service", telemetry_->service}, {"topic", name}})};
    return topics_.try_emplace(name, series).first->second;
}

void RelayInstruments::record_spans(const PublishBatch& batch, const PublishOutcome& outcome,
                                    Timestamp began, Timestamp ended) const {
    Span span = messaging_span(*telemetry_, "send", batch.topic);
    span.start = began;
    span.end = ended;
    span.attributes.emplace_back("messaging.destination.partition.id",
                                 std::to_string(batch.partition));
    record_part(*telemetry_, span, batch.events.first(outcome.durable));
    if (outcome.durable < batch.events.size() && outcome.failure) {
        mark_failed(span, *outcome.failure);
        record_part(*telemetry_, span, batch.events.subspan(outcome.durable));
    }
}

}  // namespace instep
