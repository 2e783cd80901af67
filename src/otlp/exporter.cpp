#include "instep/otlp/exporter.hpp"

#include "encoding.hpp"
#include "instep/concurrency/loop.hpp"
#include "instep/concurrency/signal.hpp"
#include "instep/http/client.hpp"
#include "instep/telemetry/logger.hpp"
#include "instep/telemetry/metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <vector>

namespace instep {

namespace {

/// How long spans wait for others to be sent with.
constexpr std::chrono::milliseconds kGather{200};

/// What the collector asks to be sent again later, as OTLP has it.
bool is_later(unsigned status) {
    return status == 429 || status == 502 || status == 503 || status == 504;
}

Result<void> check(const OtlpExporterOptions& options) {
    if (options.waiting_max < 1 || options.waiting_max > 1'000'000 || options.batch_max < 1 ||
        options.batch_max > 10'000) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("exporter of spans: {} that wait or {} a request is out of bounds",
                                options.waiting_max, options.batch_max));
    }
    return {};
}

}  // namespace

class OtlpExporter::Impl {
public:
    Impl(OtlpExporterOptions options, HttpClient client, const Clock& clock, Random& random,
         MetricsRegistry& metrics, Logger& logger)
        : options_(std::move(options)),
          client_(std::move(client)),
          logger_(logger),
          exported_(metrics.counter("instep_spans_exported_total",
                                    "Spans that a collector of traces has taken")),
          dropped_(metrics.counter("instep_spans_dropped_total",
                                   "Spans lost because too many waited for the collector, or "
                                   "because it refused them")),
          loop_(
              LoopOptions{.name = "spans", .idle = {.alert_wait = kGather, .idle_max = kGather}},
              [this](const std::stop_token&) { return send_batch(); },
              [this](const std::stop_token& stop, std::chrono::milliseconds) { gather(stop); },
              clock, random, logger) {
        loop_.start();
    }

    ~Impl() {
        // A request in flight has a time-out, and so has the last one.
        std::ignore = loop_.stop(2 * options_.timeout);
        while (true) {
            const auto sent = send_batch();
            if (!sent || *sent == 0) {
                break;
            }
        }
        drop(waiting_.lock()->size());
    }

    void record(Span span) {
        {
            const auto waiting = waiting_.lock();
            if (waiting->size() < options_.waiting_max) {
                waiting->push_back(std::move(span));
                if (waiting->size() != options_.batch_max) {
                    return;
                }
            } else {
                dropped_.increment();
                return;
            }
        }
        is_batch_full_.notify();
    }

private:
    /// Until a batch is full, or for a while.
    void gather(const std::stop_token& stop) {
        is_batch_full_.wait(stop, is_batch_full_.count(), kGather);
    }

    Result<std::uint64_t> send_batch() {
        const std::vector<Span> batch = oldest();
        if (batch.empty()) {
            return 0;
        }
        INSTEP_TRY_ASSIGN(const HttpResponse answer,
                          client_.send({.method = "POST",
                                        .path = "/v1/traces",
                                        .headers = {{"content-type", "application/json"}},
                                        .body = to_otlp_json(batch, options_.process_id)}));
        if (is_later(answer.status)) {
            return fail(ErrorCode::kUnavailable,
                        fmt::format("{} asks to send spans later: it answers with {}",
                                    client_.display_url(), answer.status));
        }
        {
            const auto waiting = waiting_.lock();
            waiting->erase(waiting->begin(),
                           waiting->begin() + static_cast<std::ptrdiff_t>(batch.size()));
        }
        if (answer.status >= 200 && answer.status < 300) {
            exported_.increment(batch.size());
        } else {
            logger_.warn("otlp.spans_refused", {{"url", client_.display_url()},
                                                {"status", answer.status},
                                                {"answer", answer.body},
                                                {"spans", batch.size()}});
            dropped_.increment(batch.size());
        }
        return batch.size();
    }

    /// Copies, for they wait until the collector has them.
    [[nodiscard]] std::vector<Span> oldest() {
        const auto waiting = waiting_.lock();
        const std::size_t count = std::min(waiting->size(), options_.batch_max);
        return {waiting->begin(), waiting->begin() + static_cast<std::ptrdiff_t>(count)};
    }

    void drop(std::size_t count) {
        if (count > 0) {
            dropped_.increment(count);
            logger_.warn("otlp.spans_dropped", {{"url", client_.display_url()}, {"spans", count}});
        }
    }

    const OtlpExporterOptions options_;
    HttpClient client_;
    Logger& logger_;
    Counter& exported_;
    Counter& dropped_;
    Guarded<std::deque<Span>> waiting_;
    Signal is_batch_full_;
    Loop loop_;
};

OtlpExporter::OtlpExporter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OtlpExporter::~OtlpExporter() = default;

Result<std::unique_ptr<OtlpExporter>> OtlpExporter::create(OtlpExporterOptions options,
                                                           const Clock& clock, Random& random,
                                                           MetricsRegistry& metrics,
                                                           Logger& logger) {
    INSTEP_TRY(check(options));
    INSTEP_TRY_ASSIGN(HttpClient client,
                      HttpClient::create(options.url, {.timeout = options.timeout}));
    return std::unique_ptr<OtlpExporter>(new OtlpExporter(std::make_unique<Impl>(
        std::move(options), std::move(client), clock, random, metrics, logger)));
}

void OtlpExporter::record(Span span) { impl_->record(std::move(span)); }

}  // namespace instep
