// What one process shows of the services that run in it: metrics, health and spans.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/http/listener.hpp"
#include "instep/telemetry/metrics.hpp"
#include "instep/telemetry/spans.hpp"

#include <memory>
#include <string>
#include <vector>

namespace instep {

class Logger;
class Watches;

/// For all services of a process; each tells it of itself (Surroundings::monitor). Safe to use from
/// any thread. Nobody who asks it anything makes a service wait: it answers with what flows have
/// noted, and reads neither database nor broker.
class Monitor {
public:
    /// All must outlive the monitor. `process_id` tells this process's spans from others'.
    Monitor(const Clock& clock, Random& random, Logger& logger, std::string process_id);
    Monitor(const Monitor&) = delete;
    Monitor& operator=(const Monitor&) = delete;
    ~Monitor();

    [[nodiscard]] MetricsRegistry& metrics() noexcept;
    [[nodiscard]] const std::string& process_id() const noexcept;

    /// What listen() answers, for a listener of the program's own:
    ///
    /// `GET /metrics`: all metrics, in Prometheus' format or as OpenMetrics.
    /// `GET /livez`: 503 once a flow's step has not come to its end for kStuckAfter; only a new
    /// start helps then.
    /// `GET /readyz`: 503 until every flow has made a step, and while one fails, is stuck or has
    /// stopped.
    /// `GET /healthz`: 503 while a flow fails or is stuck, which includes one that does not move
    /// although events wait for it. To stand by is healthy.
    ///
    /// The three answer with all flows in JSON. They must not outlive the monitor.
    [[nodiscard]] std::vector<HttpRoute> routes();

    /// Answers there, as HttpListenerOptions::address has it, from now on; no effect where it does
    /// already. Errors: those of HttpListener::open().
    Result<void> listen(const std::string& address);

    /// A service that the process will run once it can be opened: until then it is not ready, and
    /// not healthy where `problem` says what is wrong.
    void expect(const std::string& service, std::string problem);

    /// Where spans go for a collector at this URL. Lives as long as the monitor. Errors: those of
    /// OtlpExporter::create().
    Result<SpanSink*> spans_to(const std::string& url);

    /// For Service: what is watched.
    [[nodiscard]] Watches& watches() noexcept;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// A step that runs for longer is not waited for any more. Above what the largest transaction and
/// the slowest handler take.
inline constexpr std::chrono::minutes kStuckAfter{10};

}  // namespace instep
