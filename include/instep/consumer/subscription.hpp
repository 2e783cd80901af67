// Code for the events of a subscription: which function runs for which type, with what.
//
//     HandlerSet orders;
//     orders.on<OrderPlaced>([](HandlerContext& context, const OrderPlaced& order) {
//         …context.transaction().execute(…)…
//         return Verdict::done();
//     });
#pragma once

#include "instep/base/random.hpp"
#include "instep/consumer/handler.hpp"
#include "instep/consumer/handler_context.hpp"
#include "instep/event/payload.hpp"
#include "instep/log/publish_contract.hpp"
#include "instep/telemetry/logger.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace instep {

class HandlerInstruments;
struct Telemetry;

/// Code for one event. May throw; that counts as Verdict::retry().
using EventFunction = std::function<Verdict(HandlerContext& context)>;

/// A version of a payload that older ones can be turned into: `using Older = …;` in the struct
/// names the one before, and `T upcast(Older)` in its namespace makes the one of the other.
template <class T>
concept HasOlder = Payload<T> && requires(typename T::Older older) {
    { upcast(std::move(older)) } -> std::same_as<T>;
};

/// The functions of one subscription. Made before the service starts; each type and schema has
/// one function, the one that was given last.
class HandlerSet {
public:
    /// For events of this type whatever their schema, unless one is given for the schema. Without
    /// it an event of a schema that the set does not know, where it knows others of the type, is
    /// refused: its key is parked until a program that knows it runs.
    HandlerSet& on(std::string type, EventFunction function);

    /// For events of the payload's type; where the payload states a schema, of that schema only,
    /// and of older ones that it can be made of by upcast(). An event that does not read as the
    /// payload is refused: its key is parked.
    template <Payload T>
    HandlerSet& on(std::function<Verdict(HandlerContext& context, const T& payload)> function) {
        add<T>([function = std::move(function)](HandlerContext& context, T payload) {
            return function(context, payload);
        });
        return *this;
    }

    /// For every event that no other function is for. Without it such events are counted as not
    /// addressed, and are not an error.
    HandlerSet& otherwise(EventFunction function);

    /// What the functions publish is held to the contract.
    HandlerSet& publishes(PublishContract contract);

    /// Null if nothing is for the event.
    [[nodiscard]] const EventFunction* find(const Event& event) const;

    /// True if something is for events of the type, with this schema or another.
    [[nodiscard]] bool knows(std::string_view type) const;

    /// Null if there is none.
    [[nodiscard]] const PublishContract* contract() const {
        return contract_ ? &*contract_ : nullptr;
    }

private:
    void add(std::string_view type, std::string_view schema, EventFunction function);

    template <Payload T, class Function>
    void add(Function function) {
        add(T::kType, schema_of<T>(), [function](HandlerContext& context) {
            Result<T> payload = from_payload<T>(context.event().data);
            return payload ? function(context, *std::move(payload))
                           : Verdict::retry(payload.error());
        });
        if constexpr (HasOlder<T>) {
            add<typename T::Older>([function](HandlerContext& context, typename T::Older older) {
                return function(context, upcast(std::move(older)));
            });
        }
    }

    /// By type, then by schema; the schema "" is any.
    std::map<std::string, std::map<std::string, EventFunction, std::less<>>, std::less<>>
        functions_;
    EventFunction otherwise_;
    std::optional<PublishContract> contract_;
};

/// Who is told of the events that a handler deals with.
struct HandlerTelemetry {
    /// Must outlive the handler.
    const Telemetry& telemetry;

    /// Where its events come from, such as "shop.order".
    std::string topic;
};

/// Runs the functions of a set, each event once in effect: InboxHandler with types and context.
class SubscriptionHandler final : public Handler {
public:
    /// An event that takes longer than `slow_after` is logged and counted; 0: none is. `random` and
    /// `logger` must outlive the handler. With `telemetry` each attempt at an event of a recorded
    /// trace is a span, the parent of what it publishes.
    SubscriptionHandler(std::string subscription, HandlerSet handlers, Random& random,
                        Logger& logger, std::chrono::milliseconds slow_after = {},
                        std::optional<HandlerTelemetry> telemetry = std::nullopt);
    ~SubscriptionHandler() override;
    Result<ApplyCounts> apply(Transaction& transaction,
                              std::span<const Event* const> events) override;
    void begin_attempt(std::uint32_t attempt) override { attempt_ = attempt; }
    [[nodiscard]] bool records_spans() const override { return true; }
    [[nodiscard]] std::optional<Refusal> refusal() const override { return inbox_.refusal(); }
    [[nodiscard]] std::uint64_t slow_events() const override { return slow_events_; }

private:
    Verdict handle(Transaction& transaction, const Event& event);
    void note_slow(const Event& event, std::chrono::milliseconds time);

    const std::string subscription_;
    const std::chrono::milliseconds slow_after_;
    const HandlerSet handlers_;
    Random& random_;
    Logger& logger_;
    const std::unique_ptr<HandlerInstruments> instruments_;
    InboxHandler inbox_;
    std::uint32_t attempt_ = 1;
    std::uint64_t slow_events_ = 0;
};

}  // namespace instep
