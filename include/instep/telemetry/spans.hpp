// Spans: what was done for a trace, from when to when, and as part of what.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/event/trace_context.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace instep {

/// Which side of a message or of a request the span is on, as OpenTelemetry names it.
enum class SpanKind : std::uint8_t { kProducer, kConsumer, kServer };

/// One piece of work that is over.
struct Span {
    /// The service that did it.
    std::string service;

    /// "send shop.order".
    std::string name;
    SpanKind kind = SpanKind::kConsumer;

    /// The trace, and the span in it.
    TraceContext context;

    /// The span of the same trace that caused it; 0 if it is the first.
    std::uint64_t parent = 0;
    Timestamp start{};
    Timestamp end{};

    /// By OpenTelemetry's names: "messaging.destination.name".
    std::vector<std::pair<std::string_view, std::variant<std::string, std::int64_t>>> attributes;

    /// Spans that belong to it besides, of this trace or of others.
    std::vector<TraceContext> links;

    /// What went wrong; empty if nothing did.
    std::string error;
};

/// Takes spans. Safe to call from any thread.
class SpanSink {
public:
    virtual ~SpanSink() = default;

    /// Returns at once, and never fails: a span that finds no room is counted and lost.
    virtual void record(Span span) = 0;
};

}  // namespace instep
