// What one handler tells monitoring of the events that it handles.
#pragma once

#include "instep/consumer/subscription.hpp"
#include "instep/telemetry/telemetry.hpp"

#include <string>

namespace instep {

/// For one thread at a time.
class HandlerInstruments {
public:
    HandlerInstruments(HandlerTelemetry telemetry, std::string subscription);

    /// Runs the function, and tells of that also if it throws.
    Verdict run(const EventFunction& function, HandlerContext& context) const;

    /// An event took longer than it should.
    void was_slow() const { slow_.increment(); }

private:
    class Attempt;

    const Telemetry& telemetry_;
    const std::string topic_;
    const std::string subscription_;
    Histogram& duration_;
    Counter& slow_;
};

}  // namespace instep
