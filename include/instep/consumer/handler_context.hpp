// What the code of a handler works with, for one event.
#pragma once

#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/db/connection.hpp"
#include "instep/event/payload.hpp"
#include "instep/event/trace_context.hpp"
#include "instep/log/log.hpp"
#include "instep/log/publish_contract.hpp"
#include "instep/telemetry/logger.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace instep {

/// What all contexts of one call have.
struct HandlerTools {
    Random& random;
    const Logger& logger;

    /// What is published is held to it; null: to nothing.
    const PublishContract* contract = nullptr;
};

/// What a handler works with, for one event. Lives for one call.
class HandlerContext {
public:
    /// All of it must outlive the context.
    HandlerContext(Transaction& transaction, const Event& event, std::uint32_t attempt,
                   const HandlerTools& tools);

    [[nodiscard]] const Event& event() const { return event_; }

    /// The one in which the event is remembered as handled: what is written to it takes effect
    /// exactly once. It is neither committed nor rolled back by the handler.
    [[nodiscard]] Transaction& transaction() const { return transaction_; }

    /// From 1; counted in the database, so over processes too.
    [[nodiscard]] std::uint32_t attempt() const { return attempt_; }

    /// True for an event of the past that a replay brings again (replay.hpp), or brings this
    /// subscription for the first time. For handlers whose effects outside of the database must
    /// not be repeated; the idempotency key is the same as at the first time.
    [[nodiscard]] bool is_replay() const;

    /// For effects outside of the database, which may be asked for more than once: the same for
    /// every attempt at this event, and for no other event.
    [[nodiscard]] std::string idempotency_key() const;

    /// The span of this attempt, as what the handler calls is told of it in a `traceparent`
    /// header; nothing if the event belongs to no trace.
    [[nodiscard]] const std::optional<TraceContext>& span() const { return span_; }

    /// Adds event id, correlation id and trace id to every line.
    [[nodiscard]] const Logger& logger() const { return tools_.logger; }

    /// Appends an event to the own log, in the same transaction. What is empty of its correlation,
    /// causation and trace comes from the event that is handled. After an error the event that is
    /// handled cannot be done: Verdict::done() counts as a failure.
    ///
    /// Errors: those of PublishContract::check() and append(); nothing is appended.
    Result<void> publish(NewEvent event) const;

    /// The same for a struct.
    template <Payload T>
    Result<void> publish(std::string topic, std::string key, const T& payload) const {
        NewEvent event;
        event.topic = std::move(topic);
        event.key = std::move(key);
        event.type = T::kType;
        event.schema = schema_of<T>();
        event.data = to_payload(payload);
        return publish(std::move(event));
    }

    /// Why the first event that could not be published was not.
    [[nodiscard]] const std::optional<Error>& unpublished() const { return unpublished_; }

private:
    Result<void> append_one(NewEvent event) const;

    Transaction& transaction_;
    const Event& event_;
    std::uint32_t attempt_;
    const HandlerTools tools_;
    std::optional<TraceContext> span_;
    mutable std::optional<Error> unpublished_;
};

}  // namespace instep
