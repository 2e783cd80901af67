// Spans as OTLP's JSON.
#pragma once

#include "instep/telemetry/spans.hpp"

#include <span>
#include <string>
#include <string_view>

namespace instep {

/// The body of a request to /v1/traces: spans of several services, each service a resource.
std::string to_otlp_json(std::span<const Span> spans, std::string_view process_id);

}  // namespace instep
