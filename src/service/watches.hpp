// The running services of a process, as its monitor looks at them.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/concurrency/guarded.hpp"
#include "instep/service/service.hpp"
#include "instep/telemetry/metrics.hpp"

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace instep {

/// A service that runs. Both functions are called from any thread, and return at once.
struct WatchedService {
    std::string name;
    std::function<std::vector<FlowStatus>()> flows;

    /// Brings gauges up to date that change as time passes.
    std::function<void()> measure;
};

/// What is said of all flows together.
struct Health {
    bool is_live = true;
    bool is_ready = true;
    bool is_healthy = true;

    /// One object, "instep.health/1".
    std::string json;
};

/// Safe to use from any thread.
class Watches {
public:
    /// `metrics` must outlive it.
    explicit Watches(MetricsRegistry& metrics) : metrics_(metrics) {}

    /// The service is watched while this lives. Its end waits for a look that is being taken.
    class Watch {
    public:
        Watch(Watches& watches, WatchedService service);
        Watch(const Watch&) = delete;
        Watch& operator=(const Watch&) = delete;
        ~Watch();

    private:
        Watches& watches_;
        int number_ = 0;
    };

    /// A service that is not watched yet, and why not.
    void expect(const std::string& service, std::string problem);

    [[nodiscard]] Health health();

    /// Sets the gauges of all flows and services.
    void measure();

private:
    struct State {
        std::map<int, WatchedService> services;

        /// Those to come, each with its problem.
        std::map<std::string, std::string> expected;
        int last_number = 0;

        /// Of each service and flow: what its state was called when it was last measured.
        std::map<std::pair<std::string, std::string>, std::string> flow_states;
    };

    void measure_flow(State& state, const std::string& service, const FlowStatus& flow);
    Gauge& state_gauge(const std::string& service, const std::string& flow,
                       const std::string& state);

    MetricsRegistry& metrics_;
    Guarded<State> state_;
};

}  // namespace instep
