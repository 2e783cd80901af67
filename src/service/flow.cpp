#include "flow.hpp"

namespace instep {

namespace {

using namespace std::chrono_literals;

/// Well below half of a relay's lease.
constexpr auto kRelayLookAgain = 1s;

/// A consumer is woken by its broker; this only bounds how long it does not look.
constexpr IdleOptions kConsumerIdle{.alert_wait = 1s, .alert_for = 0ms, .idle_max = 1s};

}  // namespace

Result<std::uint64_t> Flow::run_once() {
    state_.lock()->step_began = clock_.monotonic();
    Result<std::uint64_t> done = step();
    const bool is_standby = done ? !leads() : done.error().code == ErrorCode::kFenced;
    note(done, is_standby);
    if (is_standby) {
        return 0;
    }
    return done;
}

void Flow::note(const Result<std::uint64_t>& done, bool is_standby) {
    const auto state = state_.lock();
    state->step_began.reset();
    state->slow_events = slow_events();
    state->halt = halt();
    if (!done && !is_standby) {
        state->name = "failing";
        state->error = done.error().message;
        return;
    }
    state->error.clear();
    if (is_standby) {
        state->name = "standby";
        return;
    }
    state->name = *done > 0 ? "running" : "idle";
    if (*done > 0) {
        state->events += *done;
        state->stalled.clear();
    }
}

void Flow::close() {
    release();
    const auto state = state_.lock();
    state->name = "stopped";
    state->stalled.clear();
    state->halt.reset();
}

void Flow::set_stalled(std::string reason) { state_.lock()->stalled = std::move(reason); }

FlowStatus Flow::status() const {
    const State state = state_.copy();
    FlowStatus status{name_, std::string(state.name), state.error, state.events, state.slow_events};
    if (state.step_began) {
        status.step_age = clock_.monotonic() - *state.step_began;
    }
    if (status.error.empty() && state.halt) {
        status.state = to_string(state.halt->kind);
        // Somebody wants it so.
        status.error = state.halt->kind == HaltKind::kPaused ? "" : state.halt->reason;
        return status;
    }
    if (status.error.empty() && !state.stalled.empty()) {
        status.state = "failing";
        status.error = state.stalled;
    }
    return status;
}

RelayFlow::RelayFlow(std::string name, IdleOptions idle, std::unique_ptr<ChunkSource> chunks,
                     std::unique_ptr<Relay> relay, const Clock& clock)
    : Flow(std::move(name), idle, clock),
      chunks_(std::move(chunks)),
      relay_(std::move(relay)),
      look_again_at_(clock.monotonic()) {}

Result<std::uint64_t> RelayFlow::step() {
    const auto now = clock().monotonic();
    std::optional<std::uint64_t> token;
    if (!is_busy_) {
        INSTEP_TRY_ASSIGN(token, relay_->change_token());
        if (token == token_ && now < look_again_at_) {
            return 0;
        }
    }
    // Until this step has gone well and found nothing, the next one looks whatever the token.
    look_again_at_ = now;
    INSTEP_TRY_ASSIGN(const std::uint64_t relayed, relay_->run_once());
    // Where there was something, there is likely to be more: no need to ask first.
    is_busy_ = relayed > 0;
    if (token && relayed == 0 && !relay_->holds_back()) {
        token_ = *token;
        look_again_at_ = now + kRelayLookAgain;
    }
    return relayed;
}

Loop::Wait RelayFlow::waiting() {
    return [this](const std::stop_token& stop, std::chrono::milliseconds patience) {
        is_busy_ = relay_->wait(stop, patience);
    };
}

ConsumerFlow::ConsumerFlow(std::string name, std::unique_ptr<Handler> handler,
                           std::unique_ptr<Consumer> consumer, const Clock& clock)
    : Flow(std::move(name), kConsumerIdle, clock),
      handler_(std::move(handler)),
      consumer_(std::move(consumer)) {}

Loop::Wait ConsumerFlow::waiting() {
    return [this](const std::stop_token& stop, std::chrono::milliseconds patience) {
        consumer_->wait(stop, patience);
    };
}

}  // namespace instep
