#pragma once

#include "instep/telemetry/spans.hpp"

#include <utility>
#include <vector>

namespace instep::test {

/// Keeps the spans of one thread.
class RecordedSpans final : public SpanSink {
public:
    void record(Span span) override { all.push_back(std::move(span)); }

    std::vector<Span> all;
};

}  // namespace instep::test
