#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/random.hpp"
#include "instep/telemetry/metrics.hpp"
#include "instep/telemetry/spans.hpp"

#include <string>

namespace instep {

/// Where the parts of one service tell what they do. What it refers to must outlive them.
struct Telemetry {
    /// The value of the label `service`.
    std::string service;
    const Clock& clock;
    Random& random;
    MetricsRegistry& metrics;

    /// Null: nobody asks for spans, and none are made.
    SpanSink* spans = nullptr;

    /// What OpenTelemetry calls the broker: "kafka", "rabbitmq", or "instep" where it has no name.
    std::string messaging_system = "instep";
};

}  // namespace instep
