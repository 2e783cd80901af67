// One loop of a service and how health judges it.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/concurrency/guarded.hpp"
#include "instep/concurrency/loop.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/relay/relay.hpp"
#include "instep/service/service.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace instep {

/// The step is for one thread at a time, the rest for any.
class Flow {
public:
    /// `clock` must outlive the flow.
    Flow(std::string name, IdleOptions idle, const Clock& clock)
        : name_(std::move(name)), idle_(idle), clock_(clock) {}
    virtual ~Flow() = default;
    Flow(const Flow&) = delete;
    Flow& operator=(const Flow&) = delete;

    /// Runs the step and notes how it went. Another holder is no failure: the flow stands by.
    Result<std::uint64_t> run_once();

    /// How a loop waits for work; empty if the flow has no better way than time.
    virtual Loop::Wait waiting() { return {}; }

    /// Ends the flow and gives up what it holds.
    void close();

    /// What is wrong although no step fails; empty if nothing is.
    void set_stalled(std::string reason);

    [[nodiscard]] FlowStatus status() const;
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const IdleOptions& idle() const noexcept { return idle_; }

protected:
    [[nodiscard]] const Clock& clock() const noexcept { return clock_; }

private:
    virtual Result<std::uint64_t> step() = 0;
    virtual void release() = 0;

    /// False while another process does the work.
    [[nodiscard]] virtual bool leads() const { return true; }

    /// Why the last step took nothing although it went well.
    [[nodiscard]] virtual std::optional<Halt> halt() const { return std::nullopt; }

    /// Events that took a handler too long so far.
    [[nodiscard]] virtual std::uint64_t slow_events() const { return 0; }

    struct State {
        std::string_view name = "starting";
        std::string error;
        std::string stalled;
        std::optional<Halt> halt;
        std::uint64_t events = 0;
        std::uint64_t slow_events = 0;

        /// When the step that runs began, on the monotonic clock; nothing between steps.
        std::optional<std::chrono::microseconds> step_began;
    };

    void note(const Result<std::uint64_t>& done, bool is_standby);

    const std::string name_;
    const IdleOptions idle_;
    const Clock& clock_;
    Guarded<State> state_;
};

/// Looks at the log when another connection may have committed to it, and now and then to
/// keep its lease.
class RelayFlow final : public Flow {
public:
    RelayFlow(std::string name, IdleOptions idle, std::unique_ptr<ChunkSource> chunks,
              std::unique_ptr<Relay> relay, const Clock& clock);
    Loop::Wait waiting() override;

private:
    Result<std::uint64_t> step() override;
    void release() override { relay_.reset(); }
    [[nodiscard]] bool leads() const override { return relay_->leads(); }

    std::unique_ptr<ChunkSource> chunks_;
    std::unique_ptr<Relay> relay_;
    std::uint64_t token_ = 0;
    bool is_busy_ = false;
    std::chrono::microseconds look_again_at_{0};
};

/// Requests to the service, or one replica.
class ConsumerFlow final : public Flow {
public:
    ConsumerFlow(std::string name, std::unique_ptr<Handler> handler,
                 std::unique_ptr<Consumer> consumer, const Clock& clock);
    Loop::Wait waiting() override;

private:
    Result<std::uint64_t> step() override { return consumer_->run_once(); }
    void release() override { consumer_.reset(); }
    [[nodiscard]] std::optional<Halt> halt() const override { return consumer_->halt(); }
    [[nodiscard]] std::uint64_t slow_events() const override { return handler_->slow_events(); }

    std::unique_ptr<Handler> handler_;
    std::unique_ptr<Consumer> consumer_;
};

}  // namespace instep
