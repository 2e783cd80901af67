#include "instep/service/monitor.hpp"

#include "instep/concurrency/guarded.hpp"
#include "instep/otlp/exporter.hpp"
#include "instep/telemetry/logger.hpp"
#include "watches.hpp"

#include <map>

namespace instep {

namespace {

HttpResponse health_answer(bool is_good, Health health) {
    return {.status = is_good ? 200U : 503U,
            .body = std::move(health.json),
            .content_type = "application/json"};
}

}  // namespace

class Monitor::Impl {
public:
    Impl(const Clock& clock, Random& random, Logger& logger, std::string process_id)
        : clock_(clock),
          random_(random),
          logger_(logger),
          process_id_(std::move(process_id)),
          watches_(metrics_) {}

    [[nodiscard]] MetricsRegistry& metrics() noexcept { return metrics_; }
    [[nodiscard]] Watches& watches() noexcept { return watches_; }
    [[nodiscard]] const std::string& process_id() const noexcept { return process_id_; }

    [[nodiscard]] std::vector<HttpRoute> routes() {
        return {{"GET", "/metrics",
                 [this](const HttpRequest& request) { return metrics_answer(request); }},
                {"GET", "/livez",
                 [this](const HttpRequest&) {
                     Health health = watches_.health();
                     return health_answer(health.is_live, std::move(health));
                 }},
                {"GET", "/readyz",
                 [this](const HttpRequest&) {
                     Health health = watches_.health();
                     return health_answer(health.is_ready, std::move(health));
                 }},
                {"GET", "/healthz", [this](const HttpRequest&) {
                     Health health = watches_.health();
                     return health_answer(health.is_healthy, std::move(health));
                 }}};
    }

    Result<void> listen(const std::string& address) {
        const auto listeners = listeners_.lock();
        if (listeners->contains(address)) {
            return {};
        }
        HttpListenerOptions options;
        options.address = address;
        INSTEP_TRY_ASSIGN(auto listener, HttpListener::open(options, routes(), logger_));
        logger_.info("monitor.listens", {{"address", listener->address()}});
        listeners->emplace(address, std::move(listener));
        return {};
    }

    Result<SpanSink*> spans_to(const std::string& url) {
        const auto exporters = exporters_.lock();
        auto& exporter = (*exporters)[url];
        if (exporter == nullptr) {
            INSTEP_TRY_ASSIGN(exporter,
                              OtlpExporter::create({.url = url, .process_id = process_id_}, clock_,
                                                   random_, metrics_, logger_));
        }
        return exporter.get();
    }

private:
    HttpResponse metrics_answer(const HttpRequest& request) {
        watches_.measure();
        const MetricsFormat format = choose_metrics_format(request.header("accept"));
        return {.body = metrics_.to_text(format),
                .content_type = std::string(content_type_of(format))};
    }

    const Clock& clock_;
    Random& random_;
    Logger& logger_;
    const std::string process_id_;
    MetricsRegistry metrics_;
    Watches watches_;
    Guarded<std::map<std::string, std::unique_ptr<OtlpExporter>>> exporters_;

    /// Gone first: what they answer is all of the above.
    Guarded<std::map<std::string, std::unique_ptr<HttpListener>>> listeners_;
};

Monitor::Monitor(const Clock& clock, Random& random, Logger& logger, std::string process_id)
    : impl_(std::make_unique<Impl>(clock, random, logger, std::move(process_id))) {}
Monitor::~Monitor() = default;

MetricsRegistry& Monitor::metrics() noexcept { return impl_->metrics(); }
const std::string& Monitor::process_id() const noexcept { return impl_->process_id(); }
std::vector<HttpRoute> Monitor::routes() { return impl_->routes(); }
Result<void> Monitor::listen(const std::string& address) { return impl_->listen(address); }
void Monitor::expect(const std::string& service, std::string problem) {
    impl_->watches().expect(service, std::move(problem));
}
Result<SpanSink*> Monitor::spans_to(const std::string& url) { return impl_->spans_to(url); }
Watches& Monitor::watches() noexcept { return impl_->watches(); }

}  // namespace instep
