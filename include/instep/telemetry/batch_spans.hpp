// One operation on many events, of which each may belong to another trace.
#pragma once

#include "instep/event/event.hpp"
#include "instep/telemetry/telemetry.hpp"

#include <optional>
#include <span>

namespace instep {

/// Links of one span; further events are counted in it and not linked.
inline constexpr std::size_t kSpanLinksMax = 128;

/// The span that the event belongs to; nothing if it belongs to none, or to one that nobody
/// records.
std::optional<TraceContext> recorded_span_of(const Event& event);

/// Records a span like `like` for each trace among the events: a child of the span of the trace's
/// first event, with links to those of its others, and with messaging.message.id or
/// messaging.batch.message_count. No effect where nobody asks for spans.
void record_by_trace(const Telemetry& telemetry, const Span& like,
                     std::span<const Event* const> events);

/// A span of this service with the attributes that OpenTelemetry asks of messaging: `operation` is
/// "send" or "process", `topic` what is sent to or read from. Times and context are the caller's.
Span messaging_span(const Telemetry& telemetry, std::string_view operation, std::string_view topic);

/// The span is that of a failure.
void mark_failed(Span& span, const Error& error);

}  // namespace instep
