#include "publisher.hpp"

#include "instep/log/log.hpp"
#include "topic_owner.hpp"

#include <fmt/format.h>

namespace instep::direct {

namespace {

/// The id makes it idempotent: what was appended before a crash is not appended again.
NewEvent to_new_event(std::string_view topic, const Event& event) {
    NewEvent appended;
    appended.topic = topic;
    appended.key = event.key;
    appended.type = event.type;
    appended.data = event.data;
    appended.id = event.id;
    appended.operation = event.operation;
    appended.content_type = event.content_type;
    appended.schema = event.schema;
    appended.correlation_id = event.correlation_id;
    appended.causation_id = event.causation_id;
    appended.trace_parent = event.trace_parent;
    return appended;
}

}  // namespace

Result<void> DirectPublisher::declare_topic(std::string_view topic, std::uint32_t partitions) {
    if (partitions != 1) {
        return fail(ErrorCode::kConflict,
                    fmt::format("topic {} has one partition where it is read from the log, not {}; "
                                "set `partitions` to 1, or use a broker",
                                topic, partitions));
    }
    return {};
}

PublishOutcome DirectPublisher::publish(const PublishBatch& batch) {
    PublishOutcome outcome;
    if (service_of(batch.topic) == service_) {
        outcome.durable = batch.events.size();
        return outcome;
    }
    if (auto appended = append(batch); !appended) {
        connections_.erase(std::string(service_of(batch.topic)));
        outcome.failure = fail_in(fmt::format("append to topic {} in the log of {}", batch.topic,
                                              service_of(batch.topic)),
                                  std::move(appended).error())
                              .error();
        return outcome;
    }
    outcome.durable = batch.events.size();
    return outcome;
}

Result<void> DirectPublisher::append(const PublishBatch& batch) {
    INSTEP_TRY_ASSIGN(const DirectOwner* const owner, owner_of(owners_, batch.topic));
    auto& connection = connections_[owner->service];
    if (connection == nullptr) {
        INSTEP_TRY_ASSIGN(connection, owner->database->connect());
    }
    INSTEP_TRY(log_identity(*connection));
    std::vector<NewEvent> events;
    events.reserve(batch.events.size());
    for (const Event& event : batch.events) {
        events.push_back(to_new_event(batch.topic, event));
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*connection, TransactionMode::kWrite));
    INSTEP_TRY(instep::append(transaction, events));
    return transaction.commit();
}

Result<std::optional<LastPublished>> DirectPublisher::last_published(std::string_view topic,
                                                                     std::uint32_t /*partition*/,
                                                                     std::string_view /*source*/) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("topic {} is the log itself, which knows no more than it holds", topic));
}

}  // namespace instep::direct
