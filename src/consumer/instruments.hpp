// What a consumer tells monitoring of its work.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/consumer/halt.hpp"
#include "instep/consumer/handler.hpp"
#include "instep/retry/circuit_breaker.hpp"
#include "instep/telemetry/telemetry.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace instep {

/// For one thread at a time.
class ConsumerInstruments {
public:
    /// Null: all of it has no effect. Otherwise it must outlive this. `handler_records_spans` as
    /// Handler says.
    ConsumerInstruments(const Telemetry* telemetry, std::string_view subscription,
                        std::string_view topic, bool handler_records_spans);

    /// When what is told of next began.
    [[nodiscard]] Timestamp now() const;

    /// A transaction committed with these.
    void committed(const ApplyCounts& counts);

    /// All of the batch, which began then, is committed.
    void applied(std::span<const Delivery> batch, Timestamp began);

    /// An event was to blame for a failed attempt.
    void failed();

    /// A parked key is tried again.
    void retried();

    /// What keeps the subscription from taking events from now on; nothing if nothing does.
    void halted(std::optional<HaltKind> by);

    /// Only where there is one.
    void circuit(CircuitState state);

    /// The bytes of all that is set aside, as far as this member knows.
    void parked(std::uint64_t bytes);

private:
    void record_spans(std::span<const Delivery> batch, Timestamp began, Timestamp ended) const;

    const Telemetry* telemetry_;
    const std::string subscription_;
    const std::string topic_;
    const bool records_spans_;
    Counter* applied_ = nullptr;
    Counter* duplicates_ = nullptr;
    Counter* stale_ = nullptr;
    Counter* not_addressed_ = nullptr;
    Counter* discarded_ = nullptr;
    Counter* failed_ = nullptr;
    Counter* retries_ = nullptr;
    Histogram* duration_ = nullptr;
    Histogram* delay_ = nullptr;
    Gauge* parked_bytes_ = nullptr;
    std::optional<CircuitState> circuit_;
};

}  // namespace instep
