#include "entrance.hpp"

#include <instep/base/uuid.hpp>
#include <instep/event/trace_context.hpp>
#include <instep/service/monitor.hpp>
#include <instep/telemetry/logger.hpp>

#include <algorithm>

namespace shop {

using instep::ErrorCode;
using instep::HttpRequest;
using instep::HttpResponse;
using instep::Result;
using instep::Span;

namespace {

constexpr std::string_view kCorrelationHeader = "x-correlation-id";
constexpr std::size_t kCorrelationBytesMax = 128;

/// It goes into logs, events and mails of others, so not everything is let in.
bool is_correlation_id(std::string_view text) {
    return !text.empty() && text.size() <= kCorrelationBytesMax &&
           std::ranges::all_of(text, [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      std::string_view("-_.:/").contains(c);
           });
}

unsigned status_of(ErrorCode code) {
    if (code == ErrorCode::kInvalidArgument || code == ErrorCode::kLimitExceeded) {
        return 400;
    }
    if (code == ErrorCode::kNotFound) {
        return 404;
    }
    if (code == ErrorCode::kConflict || code == ErrorCode::kRejected) {
        return 409;
    }
    return instep::is_retryable(code) ? 503 : 500;
}

struct Refusal {
    std::string error;
};
INSTEP_FIELDS(Refusal, error)

HttpResponse answer_of(const Result<void>& outcome, const std::string& correlation_id) {
    HttpResponse response{.status = 201, .body = "{}", .content_type = "application/json"};
    response.headers.emplace_back(kCorrelationHeader, correlation_id);
    if (!outcome) {
        response.status = status_of(outcome.error().code);
        // What is the service's own trouble stays in its log.
        const bool is_ours = response.status >= 500;
        response.body = instep::to_payload(
            Refusal{is_ours ? "it failed here; try again later" : outcome.error().message});
    }
    return response;
}

/// As part of the caller's trace, or as the first of one.
Span begin_span(const std::string& service, const RequestRoute& route, const HttpRequest& http,
                const instep::Surroundings& surroundings) {
    Span span;
    span.service = service;
    span.name = "POST " + route.path;
    span.kind = instep::SpanKind::kServer;
    if (const auto caller = instep::parse_trace_parent(http.header("traceparent"))) {
        span.context = child_of(*caller, surroundings.random);
        span.parent = caller->span;
    } else {
        span.context = instep::start_trace(surroundings.random);
    }
    span.start = surroundings.clock.now();
    return span;
}

void end_span(Span& span, const RequestRoute& route, unsigned status, instep::Timestamp now) {
    span.end = now;
    span.attributes = {{"http.request.method", "POST"},
                       {"http.route", route.path},
                       {"url.path", route.path},
                       {"url.scheme", "http"},
                       {"http.response.status_code", std::int64_t{status}}};
    if (status >= 500) {
        span.error = std::to_string(status);
        span.attributes.emplace_back("error.type", span.error);
    }
}

}  // namespace

Entrance::Entrance(std::string service, instep::Surroundings surroundings,
                   std::unique_ptr<instep::Database> database, instep::SpanSink* spans)
    : service_(std::move(service)),
      surroundings_(std::move(surroundings)),
      database_(std::move(database)),
      spans_(spans) {}

Result<std::unique_ptr<Entrance>> Entrance::open(const instep::ServiceConfig& config,
                                                 const instep::Surroundings& surroundings) {
    INSTEP_TRY_ASSIGN(auto database, open_database(config.database, surroundings.clock));
    instep::SpanSink* spans = nullptr;
    if (!config.otlp.empty()) {
        INSTEP_TRY_ASSIGN(spans, surroundings.monitor->spans_to(config.otlp));
    }
    return std::unique_ptr<Entrance>(
        new Entrance(config.name, surroundings, std::move(database), spans));
}

std::vector<instep::HttpRoute> Entrance::routes(std::vector<RequestRoute> routes) {
    std::vector<instep::HttpRoute> all;
    for (RequestRoute& route : routes) {
        const std::string path = route.path;
        all.push_back({"POST", path, [this, route = std::move(route)](const HttpRequest& http) {
                           return answer(route, http);
                       }});
    }
    return all;
}

HttpResponse Entrance::answer(const RequestRoute& route, const HttpRequest& http) {
    std::string correlation_id(http.header(kCorrelationHeader));
    const bool is_refused = !correlation_id.empty() && !is_correlation_id(correlation_id);
    if (correlation_id.empty() || is_refused) {
        correlation_id = instep::make_uuid_v7(surroundings_.clock, surroundings_.random);
    }
    Span span = begin_span(service_, route, http, surroundings_);
    const Result<void> outcome =
        is_refused ? instep::fail(ErrorCode::kInvalidArgument,
                                  "x-correlation-id may have 128 letters, digits and any of -_.:/")
                   : run(route, http, correlation_id, span.context);
    HttpResponse response = answer_of(outcome, correlation_id);
    surroundings_.logger.info("shop.request", {{"path", route.path},
                                               {"status", std::int64_t{response.status}},
                                               {"correlation_id", correlation_id},
                                               {"trace_id", trace_id(span.context)},
                                               {"error", outcome ? "" : outcome.error().message}});
    end_span(span, route, response.status, surroundings_.clock.now());
    if (spans_ != nullptr && span.context.sampled) {
        spans_->record(std::move(span));
    }
    return response;
}

Result<void> Entrance::run(const RequestRoute& route, const HttpRequest& http,
                           std::string correlation_id, const instep::TraceContext& span) {
    INSTEP_TRY_ASSIGN(auto connection, take_connection());
    {
        INSTEP_TRY_ASSIGN(auto transaction,
                          instep::Transaction::begin(*connection, instep::TransactionMode::kWrite));
        INSTEP_TRY(
            route.handle({http, transaction, std::move(correlation_id), to_trace_parent(span)}));
        INSTEP_TRY(transaction.commit());
    }
    idle_.lock()->push_back(std::move(connection));
    return {};
}

Result<std::unique_ptr<instep::Connection>> Entrance::take_connection() {
    {
        const auto idle = idle_.lock();
        if (!idle->empty()) {
            auto connection = std::move(idle->back());
            idle->pop_back();
            return connection;
        }
    }
    return database_->connect();
}

}  // namespace shop
