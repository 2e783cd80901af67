#include "encoding.hpp"

#include "instep/event/json_writer.hpp"

#include <fmt/format.h>

#include <iterator>
#include <map>
#include <utility>

namespace instep {

namespace {

// Numbers of enumerations, and what is a string in JSON though it is a number elsewhere, as
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding has it.
constexpr int kStatusError = 2;

constexpr int number_of(SpanKind kind) {
    switch (kind) {
        case SpanKind::kServer:
            return 2;
        case SpanKind::kProducer:
            return 4;
        case SpanKind::kConsumer:
            return 5;
    }
    std::unreachable();
}

class Writer {
public:
    explicit Writer(std::string& out) : out_(out) {}

    void raw(std::string_view text) { out_.append(text); }
    void text(std::string_view text) { append_json_string(out_, text); }

    /// `{"key":"…","value":{"stringValue":"…"}}`
    void attribute(std::string_view key, const std::variant<std::string, std::int64_t>& value) {
        raw(R"({"key":)");
        text(key);
        if (const auto* number = std::get_if<std::int64_t>(&value)) {
            fmt::format_to(std::back_inserter(out_), R"(,"value":{{"intValue":"{}"}}}})", *number);
            return;
        }
        raw(R"(,"value":{"stringValue":)");
        text(std::get<std::string>(value));
        raw("}}");
    }

    /// The elements with commas between them.
    template <class Range, class Write>
    void list(const Range& range, Write write) {
        bool is_first = true;
        for (const auto& element : range) {
            raw(is_first ? "" : ",");
            is_first = false;
            write(element);
        }
    }

    void ids(const TraceContext& context) {
        fmt::format_to(std::back_inserter(out_), R"("traceId":"{}","spanId":"{:016x}")",
                       trace_id(context), context.span);
    }

    void span(const Span& span) {
        raw("{");
        ids(span.context);
        if (span.parent != 0) {
            fmt::format_to(std::back_inserter(out_), R"(,"parentSpanId":"{:016x}")", span.parent);
        }
        raw(R"(,"name":)");
        text(span.name);
        fmt::format_to(std::back_inserter(out_),
                       R"(,"kind":{},"startTimeUnixNano":"{}000","endTimeUnixNano":"{}000")",
                       number_of(span.kind), span.start.time_since_epoch().count(),
                       span.end.time_since_epoch().count());
        raw(R"(,"attributes":[)");
        list(span.attributes, [&](const auto& next) { attribute(next.first, next.second); });
        raw(R"(],"links":[)");
        list(span.links, [&](const TraceContext& link) {
            raw("{");
            ids(link);
            raw("}");
        });
        raw("]");
        if (!span.error.empty()) {
            fmt::format_to(std::back_inserter(out_), R"(,"status":{{"code":{},"message":)",
                           kStatusError);
            text(span.error);
            raw("}");
        }
        raw("}");
    }

private:
    std::string& out_;
};

}  // namespace

std::string to_otlp_json(std::span<const Span> spans, std::string_view process_id) {
    std::map<std::string_view, std::vector<const Span*>> by_service;
    for (const Span& span : spans) {
        by_service[span.service].push_back(&span);
    }
    std::string out;
    Writer writer(out);
    writer.raw(R"({"resourceSpans":[)");
    writer.list(by_service, [&](const auto& service) {
        writer.raw(R"({"resource":{"attributes":[)");
        writer.attribute("service.name", std::string(service.first));
        writer.raw(",");
        writer.attribute("service.instance.id", std::string(process_id));
        writer.raw(R"(]},"scopeSpans":[{"scope":{"name":"instep"},"spans":[)");
        writer.list(service.second, [&](const Span* span) { writer.span(*span); });
        writer.raw("]}]}");
    });
    writer.raw("]}");
    return out;
}

}  // namespace instep
