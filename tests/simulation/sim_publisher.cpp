#include "tests/simulation/sim_publisher.hpp"

#include <fmt/format.h>

namespace instep::simulation {

Result<void> SimPublisher::declare_topic(std::string_view topic, std::uint32_t partitions) {
    INSTEP_TRY(broker_.enter());
    return broker_.declare_topic(topic, partitions);
}

PublishOutcome SimPublisher::publish(const PublishBatch& batch) {
    std::size_t stored = 0;
    PublishOutcome outcome;
    while (stored < batch.events.size() && !outcome.failure) {
        if (auto next = store_next(batch, stored); next) {
            ++stored;
        } else {
            outcome.failure = std::move(next).error();
        }
    }
    outcome.durable = stored;
    if (!outcome.failure && chaos().strikes(&Faults::confirm_lost)) {
        outcome = lose_confirm(batch);
    }
    chaos().scheduler().trace(
        "publish", batch.topic,
        fmt::format("{} stored, {} of {} confirmed", stored, outcome.durable, batch.events.size()));
    return outcome;
}

/// Between two events another publisher may come in, or the broker may restart.
Result<void> SimPublisher::store_next(const PublishBatch& batch, std::size_t place) {
    if (place == 0) {
        INSTEP_TRY(broker_.enter());
        restarts_seen_ = broker_.restarts();
    } else if (chaos().random().below(4) == 0) {
        INSTEP_TRY(chaos().enter_step());
    }
    if (restarts_seen_ != broker_.restarts() || chaos().strikes(&Faults::refused)) {
        return fail(ErrorCode::kUnavailable, "simulated: the broker refuses the event");
    }
    return store(batch, batch.events[place]);
}

Result<void> SimPublisher::store(const PublishBatch& batch, const Event& event) {
    const auto& sources = (*broker_.find_topic(batch.topic))[batch.partition].sources;
    const auto source = sources.find(event.source);
    if (broker_.features().fences_publishers && source != sources.end() &&
        batch.fencing_epoch < source->second.epoch) {
        return fail(ErrorCode::kFenced, "another publisher has taken over");
    }
    broker_.append(batch, event);
    return {};
}

PublishOutcome SimPublisher::lose_confirm(const PublishBatch& batch) {
    return {.durable = chaos().random().below(batch.events.size()),
            .failure = Error{ErrorCode::kUnavailable, "simulated: the confirm was lost"}};
}

Result<std::optional<LastPublished>> SimPublisher::last_published(std::string_view topic,
                                                                  std::uint32_t partition,
                                                                  std::string_view source) {
    INSTEP_TRY(broker_.enter());
    if (!broker_.features().remembers_last_version) {
        return fail(ErrorCode::kUnsupported, "the broker does not remember versions");
    }
    const auto* logs = broker_.find_topic(topic);
    if (logs == nullptr) {
        return std::nullopt;
    }
    const auto& sources = (*logs)[partition].sources;
    const auto found = sources.find(source);
    if (found == sources.end()) {
        return std::nullopt;
    }
    return found->second.last;
}

}  // namespace instep::simulation
