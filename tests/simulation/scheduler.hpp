// Many simulated processes on one thread, each a fiber, under one virtual clock.
//
// A fiber runs until it yields, sleeps or waits; then chance draws who goes on. The same
// random numbers give the same run.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/random.hpp"
#include "tests/simulation/trace.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace instep::simulation {

/// Ends a process where it stands, as kill -9 would: thrown out of the call that it makes.
struct Crash {};

/// Moves only when the scheduler says so. Starts on 2026-03-01 09:30 UTC.
class VirtualClock final : public Clock {
public:
    static constexpr Timestamp kStart{std::chrono::microseconds(1'772'357'400'000'000)};

    [[nodiscard]] Timestamp now() const override { return kStart + elapsed_; }
    [[nodiscard]] std::chrono::microseconds monotonic() const override { return elapsed_; }
    void advance(std::chrono::microseconds time) { elapsed_ += time; }

private:
    std::chrono::microseconds elapsed_{0};
};

/// A clock that is a little off.
class DriftingClock final : public Clock {
public:
    DriftingClock(const Clock& clock, std::chrono::microseconds drift)
        : clock_(clock), drift_(drift) {}

    [[nodiscard]] Timestamp now() const override { return clock_.now() + drift_; }
    [[nodiscard]] std::chrono::microseconds monotonic() const override {
        return clock_.monotonic();
    }

private:
    const Clock& clock_;
    std::chrono::microseconds drift_;
};

class Lock;

class Scheduler {
public:
    Scheduler(Random& random, VirtualClock& clock, Trace& trace);
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;

    ~Scheduler();

    /// Crashes the fibers that still live. Before what they use is gone.
    void end();

    /// `body` begins with the next step.
    void spawn(std::string name, std::function<void()> body);

    enum class End : std::uint8_t { kStopped, kStuck, kOutOfSteps };

    /// Lets the fibers run until `stop` is true.
    End run(const std::function<bool()>& stop, std::uint64_t steps_max);

    // The rest is for fibers.

    /// A point at which another fiber may run. False if the caller's process is dead and must
    /// end without touching anything; it throws Crash instead where that can be caught.
    bool yield();
    bool rest(std::chrono::microseconds time);

    /// The current fiber's process dies here.
    [[nodiscard]] bool crash();

    /// True while a process that died unwinds.
    [[nodiscard]] bool is_dead() const;

    /// After Crash was caught: the fiber goes on as a new process. False if the run is over.
    [[nodiscard]] bool revive();

    /// Between the two no crash() takes effect: destructors must not throw.
    void begin_orderly_end();
    void finish_orderly_end();

    [[nodiscard]] std::string_view current_name() const;
    void trace(std::string_view what, std::string_view detail, std::string_view outcome);

    /// A line for the reader alone; worth making only if it is kept.
    void note(std::string line) { trace_.note(std::move(line)); }
    [[nodiscard]] bool keeps_text() const noexcept { return trace_.keeps_text(); }

    [[nodiscard]] const VirtualClock& clock() const noexcept { return clock_; }

    /// How long one step takes at most.
    void set_step_max(std::chrono::microseconds time) { step_max_ = time; }

    /// Ends every sleep now.
    void wake_all();

private:
    friend class Lock;
    class Fiber;

    bool wait(std::chrono::microseconds until, const Lock* lock);
    void wake_waiters(const Lock& lock);
    Fiber* draw();
    bool hand_over();

    Random& random_;
    VirtualClock& clock_;
    Trace& trace_;
    std::chrono::microseconds step_max_{2000};
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<Fiber*> runnable_;
    Fiber* current_ = nullptr;
    bool ending_ = false;
};

/// Held by one owner at a time; others wait without blocking the thread.
class Lock {
public:
    explicit Lock(Scheduler& scheduler) : scheduler_(scheduler) {}

    /// False if `patience` ran out or the process died.
    bool acquire(std::chrono::microseconds patience);
    void release();
    [[nodiscard]] bool is_held() const noexcept { return held_; }

private:
    Scheduler& scheduler_;
    bool held_ = false;
};

}  // namespace instep::simulation
