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
    Result<std::uint64_t> done = step();
    const auto state = state_.lock();
    if (!done && done.error().code != ErrorCode::kFenced) {
        state->name = "failing";
        state->error = done.error().message;
        return done;
    }
    state->error.clear();
    if (!done || !leads()) {
        state->name = "standby";
        return 0;
    }
    state->name = *done > 0 ? "running" : "idle";
    if (*done > 0) {
        state->events += *done;
        state->stalled.clear();
    }
    return done;
}

void Flow::close() {
    release();
    const auto state = state_.lock();
    state->name = "stopped";
    state->stalled.clear();
}

void Flow::set_stalled(std::string reason) { state_.lock()->stalled = std::move(reason); }

FlowStatus Flow::status() const {
    const State state = state_.copy();
    FlowStatus status{name_, std::string(state.name), state.error, state.events};
    if (status.error.empty() && !state.stalled.empty()) {
        status.state = "failing";
        status.error = state.stalled;
    }
    return status;
}

RelayFlow::RelayFlow(std::string name, std::unique_ptr<ChunkSource> chunks,
                     std::unique_ptr<Relay> relay, const Clock& clock)
    : Flow(std::move(name), IdleOptions{}),
      chunks_(std::move(chunks)),
      relay_(std::move(relay)),
      clock_(clock),
      look_again_at_(clock.monotonic()) {}

Result<std::uint64_t> RelayFlow::step() {
    INSTEP_TRY_ASSIGN(const std::uint64_t token, relay_->change_token());
    const auto now = clock_.monotonic();
    if (token == token_ && now < look_again_at_) {
        return 0;
    }
    // Until this step has gone well and found nothing, the next one looks whatever the token.
    look_again_at_ = now;
    INSTEP_TRY_ASSIGN(const std::uint64_t relayed, relay_->run_once());
    if (relayed == 0) {
        token_ = token;
        look_again_at_ = now + kRelayLookAgain;
    }
    return relayed;
}

ConsumerFlow::ConsumerFlow(std::string name, std::unique_ptr<Handler> handler,
                           std::unique_ptr<Consumer> consumer)
    : Flow(std::move(name), kConsumerIdle),
      handler_(std::move(handler)),
      consumer_(std::move(consumer)) {}

Loop::Wait ConsumerFlow::waiting() {
    return [this](const std::stop_token& stop, std::chrono::milliseconds patience) {
        consumer_->wait(stop, patience);
    };
}

}  // namespace instep
