#include "instep/consumer/subscription.hpp"

#include "correlation.hpp"
#include "handler_instruments.hpp"
#include "instep/event/trace_context.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

/// Tells how long its life was, if that was longer than it should be. A handler may end by an
/// exception, and is slow then too.
class Stopwatch {
public:
    using Tell = std::function<void(std::chrono::milliseconds)>;

    Stopwatch(Connection& connection, std::chrono::milliseconds limit, Tell tell)
        : connection_(connection), limit_(limit), tell_(std::move(tell)), begun_(now()) {}
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;
    ~Stopwatch() {
        const std::optional<Timestamp> ended = begun_ ? now() : std::nullopt;
        if (ended && *ended - *begun_ > limit_) {
            tell_(std::chrono::round<std::chrono::milliseconds>(*ended - *begun_));
        }
    }

private:
    /// Nothing where nobody asks, or the connection is broken.
    [[nodiscard]] std::optional<Timestamp> now() const {
        if (limit_ == std::chrono::milliseconds{0}) {
            return std::nullopt;
        }
        const auto time = connection_.now();
        return time ? std::optional(*time) : std::nullopt;
    }

    Connection& connection_;
    const std::chrono::milliseconds limit_;
    const Tell tell_;
    const std::optional<Timestamp> begun_;
};

}  // namespace

HandlerSet& HandlerSet::on(std::string type, EventFunction function) {
    add(type, "", std::move(function));
    return *this;
}

HandlerSet& HandlerSet::otherwise(EventFunction function) {
    otherwise_ = std::move(function);
    return *this;
}

HandlerSet& HandlerSet::publishes(PublishContract contract) {
    contract_ = std::move(contract);
    return *this;
}

void HandlerSet::add(std::string_view type, std::string_view schema, EventFunction function) {
    functions_[std::string(type)].insert_or_assign(std::string(schema), std::move(function));
}

const EventFunction* HandlerSet::find(const Event& event) const {
    if (const auto by_schema = functions_.find(event.type); by_schema != functions_.end()) {
        auto found = by_schema->second.find(event.schema);
        if (found == by_schema->second.end()) {
            found = by_schema->second.find("");
        }
        if (found != by_schema->second.end()) {
            return &found->second;
        }
    }
    return otherwise_ ? &otherwise_ : nullptr;
}

bool HandlerSet::knows(std::string_view type) const { return functions_.contains(type); }

SubscriptionHandler::SubscriptionHandler(std::string subscription, HandlerSet handlers,
                                         Random& random, Logger& logger,
                                         std::chrono::milliseconds slow_after,
                                         std::optional<HandlerTelemetry> telemetry)
    : subscription_(subscription),
      slow_after_(slow_after),
      handlers_(std::move(handlers)),
      random_(random),
      logger_(logger),
      instruments_(telemetry
                       ? std::make_unique<HandlerInstruments>(*std::move(telemetry), subscription)
                       : nullptr),
      inbox_(
          std::move(subscription),
          [this](Transaction& transaction, const Event& event) {
              return handle(transaction, event);
          },
          logger) {}

SubscriptionHandler::~SubscriptionHandler() = default;

Result<ApplyCounts> SubscriptionHandler::apply(Transaction& transaction,
                                               std::span<const Event* const> events) {
    std::vector<const Event*> addressed;
    addressed.reserve(events.size());
    for (const Event* event : events) {
        if (handlers_.find(*event) != nullptr || handlers_.knows(event->type)) {
            addressed.push_back(event);
        }
    }
    INSTEP_TRY_ASSIGN(ApplyCounts counts, inbox_.apply(transaction, addressed));
    counts.not_addressed += events.size() - addressed.size();
    return counts;
}

Verdict SubscriptionHandler::handle(Transaction& transaction, const Event& event) {
    const EventFunction* const function = handlers_.find(event);
    if (function == nullptr) {
        return Verdict::retry(
            Error{ErrorCode::kSchemaMismatch,
                  fmt::format("this program does not know its schema \"{}\"; run one that does",
                              event.schema)});
    }
    const auto trace = parse_trace_parent(event.trace_parent);
    const Logger logger = logger_.with({{"event_id", event.id},
                                        {"correlation_id", correlation_of(event)},
                                        {"trace_id", trace ? trace_id(*trace) : ""}});
    HandlerContext context(transaction, event, attempt_, {random_, logger, handlers_.contract()});
    const Stopwatch watch(transaction.connection(), slow_after_,
                          [&](std::chrono::milliseconds time) { note_slow(event, time); });
    const EventFunction checked = [function](HandlerContext& own) {
        Verdict verdict = (*function)(own);
        if (verdict.kind == Verdict::Kind::kDone && own.unpublished()) {
            // Otherwise the event that it was to publish is lost, and nobody hears of it.
            return Verdict::retry(*own.unpublished());
        }
        return verdict;
    };
    return instruments_ == nullptr ? checked(context) : instruments_->run(checked, context);
}

void SubscriptionHandler::note_slow(const Event& event, std::chrono::milliseconds time) {
    ++slow_events_;
    if (instruments_ != nullptr) {
        instruments_->was_slow();
    }
    logger_.warn("consumer.slow_handler", {{"subscription", subscription_},
                                           {"event_id", event.id},
                                           {"type", event.type},
                                           {"milliseconds", time.count()}});
}

}  // namespace instep
