#include "instep/consumer/consumer.hpp"

#include "gate.hpp"
#include "instep/base/fail_point.hpp"
#include "key_batch.hpp"
#include "parked_retries.hpp"
#include "retry_budget.hpp"
#include "whole_transactions.hpp"
#include "workplace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <tuple>
#include <utility>

namespace instep {

namespace {

/// How long another holder's lease is left alone.
constexpr std::chrono::milliseconds kLeaseWait{100};

/// For so long, and for so many deliveries, what may be seen early is not acknowledged: one wait
/// for the disk does for all of it.
constexpr std::chrono::milliseconds kSettleAfter{5};
constexpr std::size_t kUnsettledMax = 500;

constexpr std::uint32_t kRateLimitMax = 1'000'000;

bool is_circuit(const CircuitBreakerOptions& circuit) {
    return circuit.failures_to_open > 0 && circuit.probes_max > 0 &&
           circuit.open_for > std::chrono::milliseconds{0};
}

Result<void> check(const ConsumerOptions& options) {
    const auto refuse = [&](std::string_view problem) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("consumer \"{}\" of topic \"{}\": {}", options.subscription,
                                options.topic, problem));
    };
    if (options.subscription.empty() || options.topic.empty() || options.member.empty() ||
        options.batch_events_max < 1 || options.batch_events_max > 100'000 || options.lanes < 1 ||
        options.lanes > 1024) {
        return refuse(
            fmt::format("{} events a batch in {} lanes is out of bounds, or a name is "
                        "missing",
                        options.batch_events_max, options.lanes));
    }
    if (options.rate_limit > kRateLimitMax || options.parked_keys_max < 1 ||
        options.parked_bytes_max < 1 || (options.circuit && !is_circuit(*options.circuit))) {
        return refuse("a limit or the circuit is out of bounds");
    }
    if (options.unit == ApplyUnit::kTransaction &&
        (options.on_failure != OnFailure::kBlockKey || !options.policies.empty() ||
         options.circuit || options.rate_limit > 0)) {
        return refuse("whole transactions have no policy, circuit or rate limit");
    }
    return {};
}

}  // namespace

class Consumer::Impl {
public:
    Impl(ConsumerOptions options, std::unique_ptr<Connection> connection, Broker& broker,
         std::unique_ptr<Subscriber> subscriber, Handler& handler, Random& random, Logger& logger)
        : subscriber_(std::move(subscriber)),
          work_(std::move(options), std::move(connection), broker, handler, random, logger),
          gate_(work_),
          key_batch_(work_),
          transactions_(work_, *subscriber_),
          retries_(work_),
          delivers_ahead_(broker.features().delivers_ahead) {}

    ~Impl() {
        // What is not acknowledged is delivered again.
        std::ignore = settle();
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    Result<std::uint64_t> run_once() {
        auto done = work();
        work_.parking.forgotten();
        gate_.report(work_.take_target(), done ? "" : done.error().message);
        // A commit whose outcome is unknown may have parked or freed keys all the same.
        parking_known_ = parking_known_ && (done || done.error().code != ErrorCode::kUnavailable);
        if (!done && done.error().code == ErrorCode::kFenced) {
            INSTEP_TRY(start_over());
        }
        return done;
    }

    void wait(const std::stop_token& stop, std::chrono::milliseconds patience) {
        const auto due = work_.parking.next_due();
        if (due && !waits_for_lease_ && gate_.tries_parked()) {
            if (const auto now = work_.connection->now()) {
                const auto until = std::chrono::ceil<std::chrono::milliseconds>(*due - *now);
                patience = std::clamp(until, std::chrono::milliseconds{1}, patience);
            }
        }
        if (!unsettled_.empty()) {
            patience = std::min(patience, kSettleAfter);
        }
        const auto held_back = waits_for_lease_ ? std::optional(kLeaseWait) : gate_.patience();
        if (!held_back) {
            subscriber_->wait(stop, patience);
            return;
        }
        std::unique_lock lock(mutex_);
        nothing_.wait_for(lock, stop, std::min(patience, *held_back), [] { return false; });
    }

    [[nodiscard]] const std::optional<Halt>& halt() const { return gate_.halt(); }

private:
    Result<std::uint64_t> work() {
        INSTEP_TRY_ASSIGN(const bool ready, hold_partitions());
        INSTEP_TRY(settle_in_time());
        waits_for_lease_ = !ready && !work_.held.partitions().empty();
        if (!ready) {
            return 0;
        }
        // Or the next acknowledgement would pass what a failed start_over() left dropped.
        INSTEP_TRY(work_.held.go_back(*subscriber_));
        INSTEP_TRY(know_parking());
        INSTEP_TRY_ASSIGN(const Passage passage, gate_.look());
        if (passage == Passage::kNothing) {
            return 0;
        }
        std::uint64_t taken_in = 0;
        if (takes_new(passage) && pending_.empty() && !transactions_.has_far()) {
            INSTEP_TRY(take_up_replays());
            INSTEP_TRY_ASSIGN(taken_in, receive());
        }
        INSTEP_TRY_ASSIGN(const auto due, find_due(passage));
        if (transactions_.has_far() && takes_new(passage)) {
            INSTEP_TRY_ASSIGN(const std::uint64_t retried, retries_.run(due, kEventsATryMax));
            INSTEP_TRY_ASSIGN(const std::uint64_t applied, transactions_.apply_far());
            return applied + retried;
        }
        const Plan plan = choose(passage, due);
        if (plan.keys.empty() && plan.pending.empty()) {
            return taken_in;
        }
        INSTEP_TRY_ASSIGN(const bool may, gate_.take(plan.keys.size() + plan.pending.size()));
        if (!may || (is_probe(passage) && !gate_.try_probe())) {
            return 0;
        }
        INSTEP_TRY_ASSIGN(const std::uint64_t dealt_with,
                          with_caution([&] { return carry_out(plan); }));
        if (plan.keys.size() == due.size()) {
            work_.caution.passed_parked();
        }
        INSTEP_TRY(work_.caution.settle());
        return plan.pending.empty() ? taken_in + dealt_with : dealt_with;
    }

    /// Parked keys that are to be tried in this step: while others wait, only in their share of the
    /// time.
    Result<std::vector<DueKey>> find_due(Passage passage) {
        if (!takes_new(passage) || pending_.empty()) {
            budget_.idle();
        }
        return budget_.is_open() || work_.caution.is_alone() ? retries_.due()
                                                             : std::vector<DueKey>{};
    }

    /// What is tried in one step.
    struct Plan {
        std::span<const DueKey> keys{};
        std::int64_t events_of_key_max = kEventsATryMax;
        std::span<const Delivery> pending{};
    };

    /// All of it; but one event for a probe, and few where all are counted or noted.
    [[nodiscard]] Plan choose(Passage passage, std::span<const DueKey> due) const {
        Plan plan{.keys = due};
        if (takes_new(passage)) {
            plan.pending = pending_;
        }
        if (is_probe(passage) || work_.caution.is_alone()) {
            plan.pending = plan.pending.first(std::min<std::size_t>(plan.pending.size(), 1));
        }
        if (is_probe(passage) || work_.options.rate_limit > 0) {
            const bool waits = is_probe(passage) && !plan.pending.empty();
            plan.keys = due.first(std::min<std::size_t>(due.size(), waits ? 0 : 1));
            plan.events_of_key_max = 1;
        }
        return plan;
    }

    Result<void> know_parking() {
        // A reading that fails is done again.
        parking_known_ = !gate_.take_revised() && parking_known_;
        if (!parking_known_) {
            INSTEP_TRY(work_.load_parking());
            parking_known_ = true;
        }
        return {};
    }

    /// Notes what is tried where the process before ended in the middle of it.
    template <class Step>
    Result<std::uint64_t> with_caution(const Step& step) {
        if (!work_.caution.notes_batches()) {
            return step();
        }
        const TrialCounts counts = trial_counts();
        INSTEP_TRY(work_.caution.begin_batch(counts));
        INSTEP_TRY_ASSIGN(const std::uint64_t done, step());
        INSTEP_TRY(work_.caution.end_batch(counts));
        return done;
    }

    /// Returns how many events were dealt with.
    Result<std::uint64_t> carry_out(const Plan& plan) {
        INSTEP_TRY_ASSIGN(const Timestamp began, work_.connection->now());
        INSTEP_TRY_ASSIGN(const std::uint64_t retried,
                          retries_.run(plan.keys, plan.events_of_key_max));
        if (plan.pending.empty()) {
            return retried;
        }
        if (!plan.keys.empty()) {
            // One of them may have failed anew, in a way that stops all.
            INSTEP_TRY_ASSIGN(const bool stands, gate_.stands_at_failed_event());
            if (stands) {
                return retried;
            }
        }
        INSTEP_TRY_ASSIGN(const Timestamp tried, work_.connection->now());
        const auto applied = apply(plan.pending);
        if (!applied) {
            // Others get no further, so they need no share.
            budget_.idle();
            return applied;
        }
        INSTEP_TRY_ASSIGN(const Timestamp ended, work_.connection->now());
        budget_.tried(tried - began);
        budget_.applied(ended - tried);
        return *applied + retried;
    }

    /// Returns how many deliveries are behind now.
    Result<std::uint64_t> apply(std::span<const Delivery> pending) {
        Dealt dealt{pending.size()};
        const Timestamp began = work_.instruments.now();
        if (work_.options.unit == ApplyUnit::kTransaction) {
            INSTEP_TRY(transactions_.apply(pending));
        } else if (work_.caution.is_alone()) {
            INSTEP_TRY_ASSIGN(dealt, apply_alone(pending.front()));
        } else {
            INSTEP_TRY_ASSIGN(dealt, key_batch_.apply(pending));
        }
        work_.instruments.applied(pending.first(dealt.deliveries), began);
        INSTEP_TRY(unsettled(newest_positions(pending.first(dealt.deliveries)), dealt.deliveries));
        pending_.erase(pending_.begin(),
                       pending_.begin() + static_cast<std::ptrdiff_t>(dealt.deliveries));
        INSTEP_TRY(settle_in_time());
        if (dealt.failure) {
            return std::unexpected(*std::move(dealt.failure));
        }
        return dealt.deliveries;
    }

    Result<void> unsettled(const Positions& reached, std::size_t deliveries) {
        if (unsettled_.empty()) {
            INSTEP_TRY_ASSIGN(unsettled_since_, work_.connection->now());
            unsettled_count_ = 0;
        }
        for (const auto& [partition, next] : reached) {
            unsettled_[partition] = next.position;
        }
        unsettled_count_ += deliveries;
        return {};
    }

    Result<void> settle_in_time() {
        if (work_.is_seen_early && delivers_ahead_ && unsettled_count_ < kUnsettledMax) {
            INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
            if (now - unsettled_since_ < kSettleAfter) {
                return {};
            }
        }
        return settle();
    }

    /// Acknowledges what survives from now on.
    Result<void> settle() {
        if (unsettled_.empty()) {
            return {};
        }
        if (const auto flushed = work_.connection->flush(); !flushed) {
            INSTEP_TRY(start_over());
            return flushed;
        }
        work_.is_seen_early = false;
        for (const auto& [partition, position] : unsettled_) {
            INSTEP_TRY(subscriber_->acknowledge(partition, position));
            work_.held.acknowledged(partition, position);
        }
        unsettled_.clear();
        INSTEP_FAIL_POINT("consumer.after_acknowledge");
        return {};
    }

    /// Has everything delivered again that is not acknowledged.
    Result<void> start_over() {
        pending_.clear();
        unsettled_.clear();
        transactions_.forget();
        return work_.held.start_over(*subscriber_);
    }

    Result<Dealt> apply_alone(const Delivery& next) {
        std::optional<KeyFailure> failure;
        if (!next.malformed && !work_.parking.holds(next.event.key)) {
            INSTEP_TRY_ASSIGN(failure, work_.begin_alone(next.partition, next.event));
        }
        if (failure) {
            INSTEP_TRY(key_batch_.give_up(next, *failure));
        } else {
            auto applied = key_batch_.apply(std::span(&next, 1));
            if (!applied || applied->failure) {
                // It came back, so it ends no process; should the note stay, that is too careful
                // only.
                std::ignore = work_.caution.withdraw_event();
                return applied;
            }
        }
        work_.caution.passed(next.partition);
        return Dealt{1};
    }

    [[nodiscard]] TrialCounts trial_counts() const {
        TrialCounts counts;
        for (const std::uint32_t partition : work_.held.partitions()) {
            counts[partition] = 0;
        }
        for (const Delivery& delivery : pending_) {
            ++counts[delivery.partition];
        }
        return counts;
    }

    Result<bool> hold_partitions() {
        INSTEP_TRY_ASSIGN(const auto assignments, subscriber_->assignments());
        for (const std::uint32_t partition : work_.held.drop_unassigned(assignments)) {
            std::erase_if(pending_, [&](const Delivery& delivery) {
                return delivery.partition == partition;
            });
            unsettled_.erase(partition);
            transactions_.forget();
            work_.caution.drop(partition);
            gate_.partitions_changed();
        }
        INSTEP_TRY_ASSIGN(const bool all_held, work_.held.hold(assignments));
        const auto taken = work_.held.taken();
        if (taken.empty()) {
            return all_held;
        }
        INSTEP_TRY(work_.load_parking());
        for (const auto& [partition, was_abandoned] : taken) {
            if (work_.options.crashes_max > 0 && work_.options.unit == ApplyUnit::kKey) {
                INSTEP_TRY(work_.caution.take_over(partition, was_abandoned));
            }
        }
        work_.held.settle();
        work_.replays.look_now();
        gate_.partitions_changed();
        return all_held;
    }

    Result<void> take_up_replays() {
        if (work_.options.unit != ApplyUnit::kKey || !work_.handler.takes_replays() ||
            !work_.replays.is_due()) {
            return {};
        }
        Replays::Places places;
        for (const std::uint32_t partition : work_.held.partitions()) {
            places[partition] = work_.held.acknowledged(partition);
        }
        const auto check = [this](Transaction& transaction) {
            return work_.held.require(transaction);
        };
        const auto taken = work_.replays.take_up(*work_.connection, *subscriber_, check, places);
        for (const auto& [partition, position] : places) {
            work_.held.acknowledged(partition, position);
        }
        return taken;
    }

    /// Fills pending_ with what may be applied now.
    Result<std::uint64_t> receive() {
        const ConsumerOptions& options = work_.options;
        const std::size_t held = work_.held.partitions().size();
        if (options.unit == ApplyUnit::kTransaction && held != 1) {
            return fail(ErrorCode::kConfigInvalid,
                        fmt::format("topic {} has {} partitions, and whole transactions need one; "
                                    "set `partitions = 1` in the owner's service file",
                                    options.topic, held));
        }
        const std::uint32_t events_max =
            options.rate_limit == 0 ? options.batch_events_max
                                    : std::min(options.batch_events_max, options.rate_limit);
        INSTEP_TRY_ASSIGN(auto received, subscriber_->receive(events_max, options.batch_bytes_max));
        INSTEP_FAIL_POINT("consumer.after_receive");
        const std::uint64_t count = received.size();
        if (count == 0) {
            work_.replays.look_now();
            INSTEP_TRY(transactions_.nothing_came());
        }
        if (options.unit == ApplyUnit::kKey) {
            work_.replays.mark(received);
        }
        pending_ = options.unit == ApplyUnit::kKey ? std::move(received)
                                                   : transactions_.take(std::move(received));
        return count;
    }

    /// Before work_, whose leases are given up first.
    std::unique_ptr<Subscriber> subscriber_;
    Workplace work_;
    Gate gate_;
    KeyBatch key_batch_;

    /// Only where whole transactions are applied.
    WholeTransactions transactions_;
    ParkedRetries retries_;
    RetryBudget budget_;

    const bool delivers_ahead_;

    /// Dealt with and seen by others, but not acknowledged: up to where in each partition.
    std::map<std::uint32_t, Position> unsettled_;
    std::size_t unsettled_count_ = 0;
    Timestamp unsettled_since_{};

    /// What is parked in the database is what work_.parking has in memory.
    bool parking_known_ = true;

    /// Received, not yet acknowledged; kept over failures so that order is kept too.
    std::vector<Delivery> pending_;

    /// Partitions are assigned here that another one still holds.
    bool waits_for_lease_ = false;

    /// For waits in which nothing can come.
    std::mutex mutex_;
    std::condition_variable_any nothing_;
};

Consumer::Consumer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Consumer::~Consumer() = default;

Result<std::unique_ptr<Consumer>> Consumer::create(Database& database, Broker& broker,
                                                   Handler& handler, Random& random, Logger& logger,
                                                   ConsumerOptions options) {
    INSTEP_TRY(check(options));
    // Keys come in any order, so this is the one connection that gains by a larger cache.
    ConnectOptions connect;
    connect.cache_kib = 4096;
    INSTEP_TRY_ASSIGN(auto connection, database.connect(connect));
    INSTEP_TRY_ASSIGN(auto subscriber,
                      broker.subscribe(SubscribeOptions{
                          options.subscription, options.topic, options.member, options.start_at,
                          options.member_timeout, options.unit == ApplyUnit::kTransaction}));
    return std::unique_ptr<Consumer>(
        new Consumer(std::make_unique<Impl>(std::move(options), std::move(connection), broker,
                                            std::move(subscriber), handler, random, logger)));
}

Result<std::uint64_t> Consumer::run_once() { return impl_->run_once(); }
void Consumer::wait(std::stop_token stop, std::chrono::milliseconds patience) {
    impl_->wait(stop, patience);
}

const std::optional<Halt>& Consumer::halt() const { return impl_->halt(); }

}  // namespace instep
