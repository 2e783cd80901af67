// Whether a consumer spares a target that is down, seen from the handler that it calls: once a step
// has found it down so often in a row, nothing is called for a while, then one event at a time.
#pragma once

#include "instep/consumer/handler.hpp"
#include "instep/retry/circuit_breaker.hpp"
#include "tests/simulation/findings.hpp"
#include "tests/simulation/scheduler.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

namespace instep::simulation {

/// Passes everything on. Borrows the scheduler and the findings.
class CircuitWatch final : public Handler {
public:
    CircuitWatch(std::unique_ptr<Handler> inner, CircuitBreakerOptions circuit,
                 const Scheduler& scheduler, Findings& findings)
        : inner_(std::move(inner)), circuit_(circuit), scheduler_(scheduler), findings_(findings) {}

    Result<ApplyCounts> apply(Transaction& transaction,
                              std::span<const Event* const> events) override;
    [[nodiscard]] std::optional<Refusal> refusal() const override { return inner_->refusal(); }

    /// To be called behind each step of the consumer.
    void step_ended();

private:
    void check(std::size_t events);

    std::unique_ptr<Handler> inner_;
    CircuitBreakerOptions circuit_;
    const Scheduler& scheduler_;
    Findings& findings_;
    bool was_down_ = false;
    bool answered_ = false;
    std::uint32_t failures_ = 0;
    std::chrono::microseconds failed_{0};
};

}  // namespace instep::simulation
