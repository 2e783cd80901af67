#include "watches.hpp"

#include "instep/event/json_writer.hpp"
#include "instep/service/monitor.hpp"

#include <fmt/format.h>

#include <iterator>

namespace instep {

namespace {

double seconds(std::chrono::microseconds time) {
    return std::chrono::duration<double>(time).count();
}

/// Writes the flows of a service, and judges them on the way.
class HealthWriter {
public:
    void add(std::string_view service, const std::vector<FlowStatus>& flows) {
        out_ += out_.empty() ? "" : ",";
        out_ += R"({"service":)";
        append_json_string(out_, service);
        out_ += R"(,"flows":[)";
        bool is_first = true;
        for (const FlowStatus& flow : flows) {
            out_ += is_first ? "" : ",";
            is_first = false;
            add(flow);
        }
        out_ += "]}";
    }

    Health finish() {
        health_.is_ready = health_.is_ready && health_.is_healthy;
        health_.json = fmt::format(
            R"({{"schema":"instep.health/1","live":{},"ready":{},"healthy":{},"services":[{}]}})",
            health_.is_live, health_.is_ready, health_.is_healthy, out_);
        health_.json += '\n';
        return std::move(health_);
    }

private:
    void add(const FlowStatus& flow) {
        const bool is_stuck = flow.step_age > kStuckAfter;
        health_.is_live = health_.is_live && !is_stuck;
        health_.is_healthy = health_.is_healthy && !is_stuck && flow.state != "failing";
        health_.is_ready = health_.is_ready && flow.state != "starting" && flow.state != "stopped";
        out_ += R"({"name":)";
        append_json_string(out_, flow.name);
        out_ += R"(,"state":)";
        append_json_string(out_, is_stuck ? "stuck" : flow.state);
        out_ += R"(,"error":)";
        append_json_string(out_, flow.error);
        fmt::format_to(std::back_inserter(out_), R"(,"events":"{}","step_seconds":{:.3f}}})",
                       flow.events, seconds(flow.step_age));
    }

    Health health_;
    std::string out_;
};

}  // namespace

Watches::Watch::Watch(Watches& watches, WatchedService service) : watches_(watches) {
    const auto state = watches_.state_.lock();
    number_ = ++state->last_number;
    state->expected.erase(service.name);
    state->services.emplace(number_, std::move(service));
}

Watches::Watch::~Watch() { watches_.state_.lock()->services.erase(number_); }

void Watches::expect(const std::string& service, std::string problem) {
    state_.lock()->expected.insert_or_assign(service, std::move(problem));
}

Health Watches::health() {
    HealthWriter writer;
    const auto state = state_.lock();
    for (const auto& [number, service] : state->services) {
        writer.add(service.name, service.flows());
    }
    for (const auto& [service, problem] : state->expected) {
        const FlowStatus opening{"opening", problem.empty() ? "starting" : "failing", problem};
        writer.add(service, {opening});
    }
    return writer.finish();
}

void Watches::measure() {
    const auto state = state_.lock();
    for (const auto& [number, service] : state->services) {
        service.measure();
        for (const FlowStatus& flow : service.flows()) {
            measure_flow(*state, service.name, flow);
        }
    }
}

void Watches::measure_flow(State& state, const std::string& service, const FlowStatus& flow) {
    std::string& before = state.flow_states[{service, flow.name}];
    if (before != flow.state) {
        if (!before.empty()) {
            state_gauge(service, flow.name, before).set(0);
        }
        before = flow.state;
    }
    state_gauge(service, flow.name, flow.state).set(1);
    metrics_
        .gauge("instep_flow_step_seconds", "How long the step of a flow that runs now has run",
               {{"service", service}, {"flow", flow.name}})
        .set(seconds(flow.step_age));
}

Gauge& Watches::state_gauge(const std::string& service, const std::string& flow,
                            const std::string& state) {
    return metrics_.gauge("instep_flow_state", "1 for the state that a flow is in",
                          {{"service", service}, {"flow", flow}, {"state", state}});
}

}  // namespace instep
