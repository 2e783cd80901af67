// Whether a subscription may take events now, and why not: paused by hand, its target down, at an
// event that failed, as much parked as may be, or its rate used up.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/consumer/halt.hpp"
#include "instep/retry/circuit_breaker.hpp"
#include "workplace.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace instep {

/// The time of a connection, as far as it can be had.
class ConnectionClock final : public Clock {
public:
    explicit ConnectionClock(Connection& connection) : connection_(connection) {}
    [[nodiscard]] Timestamp now() const override;
    [[nodiscard]] std::chrono::microseconds monotonic() const override {
        return now().time_since_epoch();
    }

private:
    Connection& connection_;
    mutable Timestamp last_{};
};

/// What may be tried now.
enum class Passage : std::uint8_t {
    kNothing,
    kParkedOnly,   ///< Parked keys, and no new events.
    kProbe,        ///< One event, to find out whether the target is back.
    kParkedProbe,  ///< The same, of a parked key.
    kEverything,
};

constexpr bool takes_new(Passage passage) {
    return passage == Passage::kProbe || passage == Passage::kEverything;
}

constexpr bool is_probe(Passage passage) {
    return passage == Passage::kProbe || passage == Passage::kParkedProbe;
}

/// For one thread at a time. Borrows the workplace.
class Gate {
public:
    explicit Gate(Workplace& work);

    /// Takes its halt out of the database: nobody holds the partitions who could end it.
    ~Gate();
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;

    /// Looks at all that may hold the subscription back; tells in the database when that changed.
    Result<Passage> look();

    /// Nothing but parked keys may be tried, because of one of them.
    Result<bool> stands_at_failed_event();

    /// People changed what is parked since this was asked last.
    bool take_revised() { return std::exchange(revised_, false); }

    /// The partitions are others than before.
    void partitions_changed() { is_told_ = false; }

    /// Before a probe: false if another one is under way.
    bool try_probe();

    /// How the handler found its target in the step that ends; `error` is why it was down.
    void report(Workplace::Target target, const std::string& error);

    /// Takes from the rate that all members share; false if it is used up for now.
    Result<bool> take(std::uint64_t events);

    /// How long it may be held back, at the most, before it is worth another look; nothing if it is
    /// not held back.
    [[nodiscard]] std::optional<std::chrono::milliseconds> patience();

    /// Parked keys are tried when they are due.
    [[nodiscard]] bool tries_parked() const;

    [[nodiscard]] const std::optional<Halt>& halt() const { return halt_; }

private:
    Result<void> read_control();
    Result<std::optional<Halt>> find_halt();
    Result<std::optional<Halt>> find_failed_event();

    /// As much is set aside as may be.
    [[nodiscard]] bool is_full(std::uint64_t keys, std::uint64_t bytes) const;
    Result<Passage> find_probe();
    Result<void> tell();
    void show_circuit();
    Result<void> write(const std::optional<Halt>& halt);
    void note() const;

    Workplace& work_;
    ConnectionClock clock_;
    std::optional<CircuitBreaker> circuit_;
    std::string circuit_error_;

    /// As the database has it.
    std::optional<Halt> paused_;
    std::int64_t revision_ = -1;
    bool revised_ = false;
    std::chrono::microseconds read_again_{0};

    std::optional<Halt> halt_;
    bool is_told_ = false;
    std::optional<Timestamp> rate_until_;
};

}  // namespace instep
