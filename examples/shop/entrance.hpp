// Where requests from outside come in by HTTP, each one transaction of its service.
#pragma once

#include <instep/concurrency/guarded.hpp>
#include <instep/config/service_file.hpp>
#include <instep/db/database.hpp>
#include <instep/event/payload.hpp>
#include <instep/http/listener.hpp>
#include <instep/log/log.hpp>
#include <instep/service/service.hpp>
#include <instep/telemetry/spans.hpp>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace shop {

/// One request. What correlates and traces it belongs to it alone, so that two at once cannot mix.
struct Request {
    const instep::HttpRequest& http;
    instep::Transaction& transaction;
    std::string correlation_id;
    std::string trace_parent;

    /// The body. Errors: kInvalidArgument with the field that is missing or wrong.
    template <instep::Fields T>
    [[nodiscard]] instep::Result<T> body() const {
        auto read = instep::from_payload<T>(http.body);
        if (!read) {
            return instep::fail(instep::ErrorCode::kInvalidArgument,
                                "the body: " + read.error().message);
        }
        return read;
    }

    /// The event is in the service's log exactly if the request succeeds.
    template <instep::Payload T>
    [[nodiscard]] instep::Result<void> append(std::string topic, std::string key,
                                              const T& payload) const {
        instep::NewEvent event;
        event.topic = std::move(topic);
        event.key = std::move(key);
        event.type = T::kType;
        event.schema = instep::schema_of<T>();
        event.data = instep::to_payload(payload);
        event.correlation_id = correlation_id;
        event.trace_parent = trace_parent;
        INSTEP_TRY(instep::append(transaction, std::span(&event, 1)));
        return {};
    }
};

/// What a service does for a POST to a path. Its transaction commits if it succeeds.
struct RequestRoute {
    std::string path;
    std::function<instep::Result<void>(const Request& request)> handle;
};

/// Runs requests, several at once, on the service's own database. Each has a correlation id: that
/// of its header x-correlation-id, or one that is made for it. The answer has it in the same
/// header, and so do the events, and all that comes of them.
class Entrance {
public:
    /// Errors: those of open_database() and Monitor::spans_to(). What `surroundings` names must
    /// outlive it, and it the listener that has its routes.
    static instep::Result<std::unique_ptr<Entrance>> open(const instep::ServiceConfig& config,
                                                          const instep::Surroundings& surroundings);

    [[nodiscard]] std::vector<instep::HttpRoute> routes(std::vector<RequestRoute> routes);

private:
    Entrance(std::string service, instep::Surroundings surroundings,
             std::unique_ptr<instep::Database> database, instep::SpanSink* spans);

    instep::HttpResponse answer(const RequestRoute& route, const instep::HttpRequest& http);
    instep::Result<void> run(const RequestRoute& route, const instep::HttpRequest& http,
                             std::string correlation_id, const instep::TraceContext& span);
    instep::Result<std::unique_ptr<instep::Connection>> take_connection();

    const std::string service_;
    const instep::Surroundings surroundings_;
    const std::unique_ptr<instep::Database> database_;

    /// Null: nobody asks for spans.
    instep::SpanSink* const spans_;

    /// A connection on which a request went well is kept for the next.
    instep::Guarded<std::vector<std::unique_ptr<instep::Connection>>> idle_;
};

}  // namespace shop
