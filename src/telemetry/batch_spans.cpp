#include "instep/telemetry/batch_spans.hpp"

#include <fmt/format.h>

#include <map>

namespace instep {

std::optional<TraceContext> recorded_span_of(const Event& event) {
    if (event.trace_parent.empty()) {
        return std::nullopt;
    }
    const auto context = parse_trace_parent(event.trace_parent);
    return context && context->sampled ? std::optional(*context) : std::nullopt;
}

void record_by_trace(const Telemetry& telemetry, const Span& like,
                     std::span<const Event* const> events) {
    if (telemetry.spans == nullptr) {
        return;
    }
    struct OfTrace {
        Span span;
        std::int64_t events = 0;
        std::string first_id;
    };
    std::map<std::pair<std::uint64_t, std::uint64_t>, OfTrace> traces;
    for (const Event* event : events) {
        const auto cause = recorded_span_of(*event);
        if (!cause) {
            continue;
        }
        auto& [span, count, first_id] = traces[{cause->trace_high, cause->trace_low}];
        if (++count == 1) {
            span = like;
            span.context = child_of(*cause, telemetry.random);
            span.parent = cause->span;
            first_id = event->id;
        } else if (span.links.size() < kSpanLinksMax) {
            span.links.push_back(*cause);
        }
    }
    for (auto& [trace, of_trace] : traces) {
        auto& [span, count, first_id] = of_trace;
        if (count == 1) {
            span.attributes.emplace_back("messaging.message.id", std::move(first_id));
        } else {
            span.attributes.emplace_back("messaging.batch.message_count", count);
        }
        telemetry.spans->record(std::move(span));
    }
}

Span messaging_span(const Telemetry& telemetry, std::string_view operation,
                    std::string_view topic) {
    Span span;
    span.service = telemetry.service;
    span.name = fmt::format("{} {}", operation, topic);
    span.kind = operation == "send" ? SpanKind::kProducer : SpanKind::kConsumer;
    span.attributes = {{"messaging.system", telemetry.messaging_system},
                       {"messaging.operation.name", std::string(operation)},
                       {"messaging.operation.type", std::string(operation)},
                       {"messaging.destination.name", std::string(topic)}};
    return span;
}

void mark_failed(Span& span, const Error& error) {
    span.error = error.message;
    span.attributes.emplace_back("error.type", std::string(to_string(error.code)));
}

}  // namespace instep
