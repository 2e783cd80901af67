#include "demo_recording.hpp"

#include <algorithm>
#include <span>

namespace instep::cli {

namespace {

constexpr std::string_view kName = "demo.recording";
constexpr std::size_t kEventsAtOnce = 500;
constexpr std::size_t kBytesAtOnce = 8U << 20U;

}  // namespace

Result<TopicRecording> TopicRecording::begin(Broker& broker, std::string topic) {
    INSTEP_TRY_ASSIGN(auto publisher, broker.publisher());
    INSTEP_TRY_ASSIGN(auto subscriber, broker.subscribe({.subscription = std::string(kName),
                                                         .topic = topic,
                                                         .member = std::string(kName),
                                                         .start_at = StartAt::kEarliest}));
    return TopicRecording(std::move(topic), std::move(publisher), std::move(subscriber));
}

Result<void> TopicRecording::catch_up() {
    INSTEP_TRY(subscriber_->assignments());
    for (;;) {
        INSTEP_TRY_ASSIGN(auto deliveries, subscriber_->receive(kEventsAtOnce, kBytesAtOnce));
        if (deliveries.empty()) {
            return {};
        }
        const Delivery& last = deliveries.back();
        INSTEP_TRY(subscriber_->acknowledge(last.partition, last.position));
        for (Delivery& delivery : deliveries) {
            keep(std::move(delivery.event));
        }
    }
}

/// Chunks and digests are answers to one consumer, which takes each once.
void TopicRecording::keep(Event event) {
    const bool is_new = events_.empty() || event.version > events_.back().version;
    if (is_new && event.version.index != kChunkIndex) {
        events_.push_back(std::move(event));
    }
}

Result<void> TopicRecording::publish_last(std::size_t count, std::uint64_t fencing_epoch) {
    INSTEP_TRY(catch_up());
    std::span<const Event> left = std::span(events_).last(std::min(count, events_.size()));
    while (!left.empty()) {
        const auto piece = left.first(std::min(kEventsAtOnce, left.size()));
        const PublishOutcome outcome = publisher_->publish({topic_, 0, piece, fencing_epoch});
        if (outcome.failure) {
            return std::unexpected(*outcome.failure);
        }
        left = left.subspan(piece.size());
    }
    return catch_up();
}

}  // namespace instep::cli
