// What a demo says at its end.
#pragma once

#include "demo_latency.hpp"
#include "demo_proof.hpp"
#include "demo_system.hpp"
#include "output.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace instep::cli {

/// Everything that was measured.
struct DemoResult {
    std::chrono::microseconds ran{0};
    SystemLook look;
    Proof proof;
    std::optional<LatencyFigures> latency;

    /// In the order of look.replicas.
    std::vector<std::optional<LatencyFigures>> replica_latency;

    /// A resource and who made it, in words.
    std::string resource;

    [[nodiscard]] bool ok() const;
};

/// instep.demo/1. Counts are plain numbers here: a demo does not get near 2^53.
JsonObject to_json(const DemoResult& result);

/// A table and a few sentences.
void show(Output& output, const DemoResult& result, const DemoSystem& system);

}  // namespace instep::cli
