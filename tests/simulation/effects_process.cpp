#include "tests/simulation/budget_watch.hpp"
#include "tests/simulation/circuit_watch.hpp"
#include "tests/simulation/consumer_process.hpp"

#include <stdexcept>
#include <string>

namespace instep::simulation {

namespace {

constexpr std::uint64_t kDownMs = 3000;
constexpr std::uint64_t kRetryAfterMs = 500;

class EffectsProcess final : public ConsumerProcess {
public:
    EffectsProcess(Environment& environment, ReplicaSite& site)
        : ConsumerProcess(environment, Role::kEffects),
          site_(site),
          budget_(environment.scheduler, environment.findings) {}

    Result<void> start() override {
        const Handling& handling = environment().options.handling;
        std::unique_ptr<Handler> handler = std::make_unique<InboxHandler>(
            site_.effects->subscription(),
            [this](Transaction& transaction, const Event& event) {
                return handle(transaction, event);
            },
            environment().logger);
        if (handling.circuit) {
            auto watch =
                std::make_unique<CircuitWatch>(std::move(handler), *handling.circuit,
                                               environment().scheduler, environment().findings);
            circuit_ = watch.get();
            handler = std::move(watch);
        }
        ConsumerOptions options;
        options.attempts_max = handling.attempts_max;
        options.on_failure = handling.on_failure;
        options.policies = handling.policies;
        options.rate_limit = handling.rate_limit;
        options.circuit = handling.circuit;
        options.parked_keys_max = handling.parked_keys_max;
        return open(*site_.database, *site_.effects, kTopic, std::move(handler),
                    std::move(options));
    }

    Result<std::uint64_t> work() override {
        step_began_ = environment().scheduler.clock().monotonic();
        budget_.step_began();
        auto done = consume();
        budget_.step_ended(done ? BudgetWatch::Outcome::kDone : BudgetWatch::Outcome::kFailed);
        if (circuit_ != nullptr) {
            circuit_->step_ended();
        }
        return done;
    }

private:
    Verdict handle(Transaction& transaction, const Event& event) {
        site_.effects->flow().tried(event, step_began_);
        if (event.operation == Operation::kChunk || event.operation == Operation::kDigest) {
            budget_.tried(BudgetWatch::Tried::kNew);
            return Verdict::done();
        }
        budget_.tried(site_.effects->waits(event) ? BudgetWatch::Tried::kParked
                                                  : BudgetWatch::Tried::kNew);
        if (is_target_down()) {
            return Verdict::unavailable(std::string(kTargetDown));
        }
        ReplicaSite::Fate& fate = fate_of(event);
        const std::string edit = edit_of(event);
        if (environment().operating && edit.empty() &&
            (fate.is_hopeless || fate.failures_left > 0)) {
            fate.failures_left -= fate.is_hopeless ? 0 : 1;
            return refuse();
        }
        const Turn turn = turn_of(event);
        const auto added = transaction.execute(
            "INSERT INTO effects (key, seq, replay, edit, wanted) VALUES ($1, $2, $3, $4, $5)",
            {std::string_view(event.key), static_cast<std::int64_t>(turn.seq), turn.replay,
             std::string_view(edit), std::int64_t{fate.is_unwanted ? 0 : 1}});
        if (!added) {
            return Verdict::retry(added.error().message);
        }
        return fate.is_unwanted ? Verdict::discard("simulated: not wanted") : Verdict::done();
    }

    Verdict refuse() {
        Random& random = environment().random;
        switch (random.below(5)) {
            case 0:
                return Verdict::retry_after(
                    std::chrono::milliseconds{1 + random.below(kRetryAfterMs)},
                    "simulated: the handler asks for time");
            case 1:
                throw std::runtime_error("simulated");
            case 2:
                return Verdict::retry(Error{ErrorCode::kConflict, "simulated: a conflict"});
            case 3:
                return Verdict::retry(Error{ErrorCode::kTimeout, "simulated: it takes too long"});
            default:
                return Verdict::retry("simulated: the handler fails");
        }
    }

    bool is_target_down() {
        const auto now = environment().scheduler.clock().monotonic();
        if (environment().chaos.strikes(&Faults::target_down)) {
            site_.down_until = now + std::chrono::milliseconds{environment().random.below(kDownMs)};
        }
        return environment().operating && now < site_.down_until;
    }

    /// A consumer tries an event several times before it sets it aside, and again later.
    ReplicaSite::Fate& fate_of(const Event& event) {
        auto [fate, first] = site_.fates.try_emplace(turn_of(event));
        if (first) {
            Random& random = environment().random;
            const Handling& handling = environment().options.handling;
            if (environment().chaos.strikes(&Faults::handler_failure)) {
                fate->second.failures_left = 1 + static_cast<std::uint32_t>(random.below(8));
            }
            fate->second.is_hopeless = random.unit() < handling.hopeless;
            fate->second.is_unwanted = random.unit() < handling.unwanted;
        }
        return fate->second;
    }

    ReplicaSite& site_;
    CircuitWatch* circuit_ = nullptr;
    BudgetWatch budget_;
    std::chrono::microseconds step_began_{0};
};

}  // namespace

std::unique_ptr<Process> make_effects_consumer(Environment& environment, ReplicaSite& site) {
    return std::make_unique<EffectsProcess>(environment, site);
}

}  // namespace instep::simulation
