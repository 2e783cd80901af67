// W3C trace context: which request an event belongs to, and which step of it.
#pragma once

#include "instep/base/error.hpp"
#include "instep/base/random.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace instep {

/// One span of a trace. Neither id is all zeros.
struct TraceContext {
    std::uint64_t trace_high = 0;
    std::uint64_t trace_low = 0;
    std::uint64_t span = 0;

    /// Whether somebody upstream records this trace.
    bool sampled = true;

    friend bool operator==(const TraceContext&, const TraceContext&) = default;
};

/// The 32 lower-case hex digits that logs and tracing tools know the trace by.
std::string trace_id(const TraceContext& context);

/// The `traceparent` attribute, in version 00: "00-<trace id>-<span id>-01".
std::string to_trace_parent(const TraceContext& context);

/// Reads version 00, and of later versions the part that every version has. Errors:
/// kInvalidArgument.
Result<TraceContext> parse_trace_parent(std::string_view text);

/// The first span of a new trace.
TraceContext start_trace(Random& random);

/// A new span of the same trace, to be sent on as the parent of what follows.
TraceContext child_of(const TraceContext& parent, Random& random);

}  // namespace instep
