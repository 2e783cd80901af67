// Sends spans to an OpenTelemetry collector, by OTLP over HTTP in JSON.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/telemetry/spans.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace instep {

class Logger;
class MetricsRegistry;

struct OtlpExporterOptions {
    /// Where the collector is, without "/v1/traces": "http://127.0.0.1:4318".
    std::string url{};

    /// Tells this process from others that run the same service; the resource's
    /// `service.instance.id`.
    std::string process_id{};

    /// Spans that wait, 1 to 1,000,000; those that come while so many wait are lost, and counted.
    /// Larger: a longer outage of the collector is bridged, at about 1 KiB a span.
    std::size_t waiting_max = 10'000;

    /// Spans sent in one request, 1 to 10,000.
    std::size_t batch_max = 500;

    /// How long the collector may take for a request.
    std::chrono::milliseconds timeout{5000};
};

/// Collects spans and sends them from a thread of its own. Spans that the collector refuses are
/// lost; while it cannot be reached they wait. Metrics: `instep_spans_exported_total`,
/// `instep_spans_dropped_total`.
class OtlpExporter final : public SpanSink {
public:
    /// Starts the thread. `clock`, `random`, `metrics` and `logger` must outlive the exporter.
    ///
    /// Errors: kInvalidArgument for an option out of bounds or a URL that is none.
    static Result<std::unique_ptr<OtlpExporter>> create(OtlpExporterOptions options,
                                                        const Clock& clock, Random& random,
                                                        MetricsRegistry& metrics, Logger& logger);

    /// Tries once more to send what waits, which takes no longer than the time-out of one request.
    ~OtlpExporter() override;

    void record(Span span) override;

private:
    class Impl;
    explicit OtlpExporter(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace instep
