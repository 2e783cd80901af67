// A background loop around a step that holds all the logic.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/concurrency/guarded.hpp"
#include "instep/concurrency/idle_policy.hpp"
#include "instep/retry/backoff.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

namespace instep {

class Logger;

/// What a loop is called, and how it waits.
struct LoopOptions {
    /// For logs and status, such as "relay".
    std::string name;

    /// Between looks that find nothing.
    IdleOptions idle{};

    /// Between attempts while the step fails.
    BackoffPolicy backoff{};
};

/// What a loop has done, for health by progress.
struct LoopStats {
    std::uint64_t steps = 0;

    /// Sum of what the steps returned.
    std::uint64_t work = 0;
    std::uint64_t errors = 0;

    /// The error of the last step; nothing after a step that went well.
    std::optional<Error> failing;

    /// When a step last went well.
    Timestamp last_success{};
};

/// Safe to call from any thread. Owns one thread between start() and stop().
class Loop {
public:
    /// Does what there is to do and returns how much that was; 0 means nothing.
    using Step = std::function<Result<std::uint64_t>(const std::stop_token& stop)>;

    /// Returns when there may be work, after the time given, or on stop.
    using Wait = std::function<void(const std::stop_token& stop, std::chrono::milliseconds)>;

    /// Starts nothing. Without `wait` the loop simply lets the time pass. `clock`, `random` and
    /// `logger` must outlive the loop.
    Loop(LoopOptions options, Step step, Wait wait, const Clock& clock, Random& random,
         Logger& logger);
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    /// As stop(), however long it takes.
    ~Loop();

    /// No effect if already started.
    void start();

    /// Lets the step in flight finish and joins the thread. No effect if not started.
    /// Errors: kTimeout if the step outlives `grace`; it goes on, and stop() may be called
    /// again.
    Result<void> stop(std::chrono::milliseconds grace);

    [[nodiscard]] const std::string& name() const noexcept { return options_.name; }
    [[nodiscard]] LoopStats stats() const { return stats_.copy(); }

private:
    void run(const std::stop_token& stop);
    void note(const Result<std::uint64_t>& done);
    void pause(const std::stop_token& stop, std::chrono::milliseconds time);

    const LoopOptions options_;
    const Step step_;
    const Wait wait_;
    const Clock& clock_;
    Random& random_;
    Logger& logger_;
    Guarded<LoopStats> stats_;
    std::mutex mutex_;
    std::condition_variable_any changed_;
    bool running_ = false;
    std::jthread thread_;
};

}  // namespace instep
