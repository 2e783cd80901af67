// The benchmarks of handlers. Each prints its own lines.
#pragma once

#include "bench/postgres/benchmarks.hpp"

namespace instep::bench {

/// Dispatch with the inbox, and what telemetry costs.
void run_dispatch_bench(const BenchSize& size);

/// What 10,000 parked keys cost all others.
void run_parking_bench(const BenchSize& size);

/// From a service's commit to the effect in another one, over Redis.
void run_handler_flow_bench(const BenchSize& size);

}  // namespace instep::bench
