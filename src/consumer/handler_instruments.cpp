#include "handler_instruments.hpp"

#include "instep/telemetry/batch_spans.hpp"

namespace instep {

/// From its making to its end; a failure unless the verdict says otherwise.
class HandlerInstruments::Attempt {
public:
    Attempt(const HandlerInstruments& instruments, const HandlerContext& context)
        : instruments_(instruments),
          telemetry_(instruments.telemetry_),
          context_(context),
          began_(telemetry_.clock.now()),
          began_at_(telemetry_.clock.monotonic()) {}
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    ~Attempt() {
        const auto taken = telemetry_.clock.monotonic() - began_at_;
        instruments_.duration_.observe(std::chrono::duration<double>(taken).count());
        if (telemetry_.spans != nullptr && context_.span() && context_.span()->sampled) {
            record(taken);
        }
    }

    void ended(const Verdict& verdict) {
        if (verdict.kind == Verdict::Kind::kRetry) {
            failure_ = Error{verdict.error, verdict.reason};
        } else if (verdict.kind == Verdict::Kind::kUnavailable) {
            failure_ = Error{ErrorCode::kUnavailable, verdict.reason};
        } else {
            failure_.reset();
        }
        is_discarded_ = verdict.kind == Verdict::Kind::kDiscard;
    }

private:
    void record(std::chrono::microseconds taken) const {
        const Event& event = context_.event();
        Span span = messaging_span(telemetry_, "process", instruments_.topic_);
        span.context = *context_.span();
        span.parent = recorded_span_of(event).value_or(TraceContext{}).span;
        span.start = began_;
        span.end = began_ + taken;
        span.attributes.emplace_back("messaging.message.id", event.id);
        span.attributes.emplace_back("messaging.consumer.group.name", instruments_.subscription_);
        span.attributes.emplace_back("instep.event.type", event.type);
        span.attributes.emplace_back("instep.attempt", std::int64_t{context_.attempt()});
        if (failure_) {
            mark_failed(span, *failure_);
        } else if (is_discarded_) {
            span.attributes.emplace_back("instep.verdict", "discard");
        }
        telemetry_.spans->record(std::move(span));
    }

    const HandlerInstruments& instruments_;
    const Telemetry& telemetry_;
    const HandlerContext& context_;
    const Timestamp began_;
    const std::chrono::microseconds began_at_;
    std::optional<Error> failure_ = Error{ErrorCode::kRejected, "the handler threw"};
    bool is_discarded_ = false;
};

HandlerInstruments::HandlerInstruments(HandlerTelemetry telemetry, std::string subscription)
    : telemetry_(telemetry.telemetry),
      topic_(std::move(telemetry.topic)),
      subscription_(std::move(subscription)),
      duration_(telemetry_.metrics.histogram(
          "instep_handler_duration_seconds", "How long a handler took for an event", kDelayBounds,
          {{"service", telemetry_.service}, {"subscription", subscription_}})),
      slow_(telemetry_.metrics.counter(
          "instep_slow_events_total", "Events that took their handler longer than slow_after",
          {{"service", telemetry_.service}, {"subscription", subscription_}})) {}

Verdict HandlerInstruments::run(const EventFunction& function, HandlerContext& context) const {
    Attempt attempt(*this, context);
    Verdict verdict = function(context);
    attempt.ended(verdict);
    return verdict;
}

}  // namespace instep
