#include "instep/concurrency/loop.hpp"

#include "instep/telemetry/logger.hpp"

#include <fmt/format.h>

namespace instep {

Loop::Loop(LoopOptions options, Step step, Wait wait, const Clock& clock, Random& random,
           Logger& logger)
    : options_(std::move(options)),
      step_(std::move(step)),
      wait_(std::move(wait)),
      clock_(clock),
      random_(random),
      logger_(logger) {}

Loop::~Loop() { thread_.request_stop(); }

void Loop::start() {
    const std::scoped_lock lock(mutex_);
    if (running_ || thread_.joinable()) {
        return;
    }
    running_ = true;
    thread_ = std::jthread([this](const std::stop_token& stop) {
        run(stop);
        const std::scoped_lock ended(mutex_);
        running_ = false;
        changed_.notify_all();
    });
}

Result<void> Loop::stop(std::chrono::milliseconds grace) {
    std::unique_lock lock(mutex_);
    if (!thread_.joinable()) {
        return {};
    }
    thread_.request_stop();
    if (!changed_.wait_for(lock, grace, [this] { return !running_; })) {
        return fail(ErrorCode::kTimeout,
                    fmt::format("{} is still busy after {} ms", options_.name, grace.count()));
    }
    // Another stop() may have joined it meanwhile. The thread itself needs the lock no more.
    if (thread_.joinable()) {
        thread_.join();
    }
    return {};
}

void Loop::run(const std::stop_token& stop) {
    IdlePolicy idle(options_.idle);
    std::uint32_t failures = 0;
    while (!stop.stop_requested()) {
        const Result<std::uint64_t> done = step_(stop);
        note(done);
        if (!done) {
            pause(stop, options_.backoff.delay(++failures, random_));
            continue;
        }
        failures = 0;
        if (*done > 0) {
            idle.worked(clock_.monotonic());
            continue;
        }
        const std::chrono::milliseconds wait = idle.next_wait(clock_.monotonic());
        if (wait_) {
            wait_(stop, wait);
        } else {
            pause(stop, wait);
        }
    }
}

/// Says an error once, not at every attempt.
void Loop::note(const Result<std::uint64_t>& done) {
    auto stats = stats_.lock();
    ++stats->steps;
    if (done) {
        if (stats->failing) {
            logger_.info("loop.recovered", {{"loop", options_.name}});
        }
        stats->work += *done;
        stats->failing.reset();
        stats->last_success = clock_.now();
        return;
    }
    ++stats->errors;
    if (!stats->failing || stats->failing->code != done.error().code) {
        logger_.error("loop.failing", {{"loop", options_.name},
                                       {"code", to_string(done.error().code)},
                                       {"error", done.error().message}});
    }
    stats->failing = done.error();
}

void Loop::pause(const std::stop_token& stop, std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, time, [] { return false; });
}

}  // namespace instep
