#include "instep/consumer/consumer.hpp"

#include "instep/base/bytes.hpp"
#include "instep/base/fail_point.hpp"
#include "instep/lease/lease.hpp"
#include "instep/telemetry/logger.hpp"
#include "parking.hpp"
#include "progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace instep {

namespace {

/// True if the event is to blame, not the database or its schema: only then may its key be
/// set aside. With everything else parking would set the world aside, key by key.
bool blames_event(ErrorCode code) {
    return code == ErrorCode::kRejected || code == ErrorCode::kCorrupt ||
           code == ErrorCode::kInvalidArgument || code == ErrorCode::kLimitExceeded ||
           code == ErrorCode::kUnsupported;
}

/// Chunks and digests speak of a whole key range at their place in the order, so no event
/// may pass them, whatever its key.
bool is_barrier(const Event& event) {
    return event.operation == Operation::kChunk || event.operation == Operation::kDigest;
}

using Deliveries = std::vector<const Delivery*>;

/// Cuts the deliveries into pieces that may fail on their own: lanes between barriers.
/// Keeps the order within every key and around every barrier.
std::vector<Deliveries> split_into_lanes(const Deliveries& deliveries, std::uint32_t lanes) {
    std::vector<Deliveries> pieces;
    std::vector<Deliveries> open(lanes);
    const auto close_lanes = [&] {
        for (Deliveries& lane : open) {
            if (!lane.empty()) {
                pieces.push_back(std::exchange(lane, {}));
            }
        }
    };
    for (const Delivery* delivery : deliveries) {
        if (is_barrier(delivery->event)) {
            close_lanes();
            pieces.push_back({delivery});
        } else {
            open[key_hash(delivery->event.key) % lanes].push_back(delivery);
        }
    }
    close_lanes();
    return pieces;
}

std::vector<const Event*> events_of(std::span<const Delivery* const> deliveries) {
    std::vector<const Event*> events;
    events.reserve(deliveries.size());
    for (const Delivery* delivery : deliveries) {
        events.push_back(&delivery->event);
    }
    return events;
}

/// A partition that this member works on.
struct HeldPartition {
    Lease lease;
    std::uint64_t lease_epoch = 0;
    std::uint64_t assignment_epoch = 0;
    Position acknowledged = 0;
};

Result<void> check(const ConsumerOptions& options) {
    if (options.subscription.empty() || options.topic.empty() || options.member.empty() ||
        options.batch_events_max < 1 || options.batch_events_max > 100'000 || options.lanes < 1 ||
        options.lanes > 1024) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("consumer \"{}\" of topic \"{}\": {} events a batch in {} lanes is "
                                "out of bounds, or a name is missing",
                                options.subscription, options.topic, options.batch_events_max,
                                options.lanes));
    }
    return {};
}

}  // namespace

class Consumer::Impl {
public:
    Impl(ConsumerOptions options, std::unique_ptr<Connection> connection,
         std::unique_ptr<Subscriber> subscriber, Handler& handler, Random& random, Logger& logger)
        : options_(std::move(options)),
          connection_(std::move(connection)),
          subscriber_(std::move(subscriber)),
          handler_(handler),
          logger_(logger),
          parking_(options_.subscription, options_.parked_backoff, random) {}

    ~Impl() {
        for (auto& [partition, held] : held_) {
            if (const auto released = held.lease.release(*connection_); !released) {
                logger_.warn("consumer.release_failed", {{"error", released.error().message}});
            }
        }
    }

    Result<std::uint64_t> run_once() {
        auto done = work();
        parking_.forgotten();
        // A commit whose outcome is unknown may have parked or freed keys all the same.
        parking_known_ = parking_known_ && (done || done.error().code != ErrorCode::kUnavailable);
        if (!done && done.error().code == ErrorCode::kFenced) {
            INSTEP_TRY(start_over());
        }
        return done;
    }

    void wait(const std::stop_token& stop, std::chrono::milliseconds patience) {
        if (const auto due = parking_.next_due()) {
            if (const auto now = connection_->now()) {
                const auto until = std::chrono::ceil<std::chrono::milliseconds>(*due - *now);
                patience = std::clamp(until, std::chrono::milliseconds{1}, patience);
            }
        }
        subscriber_->wait(stop, patience);
    }

private:
    Result<std::uint64_t> work() {
        INSTEP_TRY_ASSIGN(const bool ready, hold_partitions());
        if (!ready) {
            return 0;
        }
        if (!parking_known_) {
            INSTEP_TRY(parking_.load(*connection_));
            parking_known_ = true;
        }
        INSTEP_TRY_ASSIGN(const std::uint64_t retried, retry_due_keys());
        if (pending_.empty()) {
            INSTEP_TRY_ASSIGN(pending_, subscriber_->receive(options_.batch_events_max,
                                                             options_.batch_bytes_max));
            INSTEP_FAIL_POINT("consumer.after_receive");
        }
        if (pending_.empty()) {
            return retried;
        }
        INSTEP_TRY(apply_pending());
        INSTEP_TRY(acknowledge_pending());
        const std::uint64_t count = pending_.size();
        pending_.clear();
        return count + retried;
    }

    /// Takes the lease of every partition that the broker assigned; false as long as a former
    /// holder's lease has not run out.
    Result<bool> hold_partitions() {
        INSTEP_TRY_ASSIGN(const auto assignments, subscriber_->assignments());
        drop_unassigned(assignments);
        bool all_held = !assignments.empty();
        for (const Assignment& assignment : assignments) {
            auto held = held_.find(assignment.partition);
            if (held == held_.end()) {
                INSTEP_TRY_ASSIGN(
                    Lease lease, Lease::create({fmt::format("consumer/{}/{}", options_.subscription,
                                                            assignment.partition),
                                                options_.member, options_.member_timeout}));
                held = held_
                           .emplace(assignment.partition,
                                    HeldPartition{std::move(lease), 0, assignment.epoch,
                                                  assignment.acknowledged})
                           .first;
            }
            INSTEP_TRY_ASSIGN(const bool holds, held->second.lease.hold(*connection_));
            all_held = all_held && holds;
            if (holds && held->second.lease_epoch != held->second.lease.epoch()) {
                INSTEP_TRY(parking_.load(*connection_));
                held->second.lease_epoch = held->second.lease.epoch();
            }
        }
        return all_held;
    }

    void drop_unassigned(std::span<const Assignment> assignments) {
        const auto assigned = [&](std::uint32_t partition, std::uint64_t epoch) {
            return std::ranges::any_of(assignments, [&](const Assignment& assignment) {
                return assignment.partition == partition && assignment.epoch == epoch;
            });
        };
        for (auto held = held_.begin(); held != held_.end();) {
            if (assigned(held->first, held->second.assignment_epoch)) {
                ++held;
                continue;
            }
            std::erase_if(pending_, [&](const Delivery& delivery) {
                return delivery.partition == held->first;
            });
            held = held_.erase(held);
        }
    }

    /// After kFenced: whatever was received and not acknowledged must come again.
    Result<void> start_over() {
        pending_.clear();
        for (auto& [partition, held] : held_) {
            held.lease.lose();
            const auto sought = subscriber_->seek(partition, held.acknowledged);
            if (!sought && sought.error().code != ErrorCode::kFenced) {
                return sought;
            }
        }
        return {};
    }

    Result<void> check_leases(Transaction& transaction) const {
        for (const auto& [partition, held] : held_) {
            INSTEP_TRY(held.lease.check(transaction));
        }
        return {};
    }

    /// One transaction for all of pending_. When an event is to blame, a second one finds out
    /// which, parks its key and applies the rest.
    Result<void> apply_pending() {
        auto applied = apply_in_transaction(Isolation::kBatch);
        if (!applied && blames_event(applied.error().code)) {
            parking_.forgotten();
            applied = apply_in_transaction(Isolation::kEvent);
        }
        return applied;
    }

    enum class Isolation : std::uint8_t { kBatch, kEvent };

    Result<void> apply_in_transaction(Isolation isolation) {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection_, TransactionMode::kWrite));
        INSTEP_TRY(check_leases(transaction));
        INSTEP_TRY_ASSIGN(const Timestamp now, connection_->now());
        INSTEP_TRY_ASSIGN(const Deliveries free, set_aside_parked(transaction, all_pending(), now));
        ApplyCounts counts;
        if (isolation == Isolation::kBatch) {
            INSTEP_TRY_ASSIGN(counts, handle(transaction, free));
        } else {
            INSTEP_TRY_ASSIGN(counts, isolate(transaction, free, now));
        }
        INSTEP_FAIL_POINT("consumer.after_handle");
        INSTEP_TRY(note_progress(transaction, counts, now));
        INSTEP_FAIL_POINT("consumer.before_commit");
        INSTEP_TRY(transaction.commit());
        parking_.kept();
        INSTEP_FAIL_POINT("consumer.after_commit");
        return {};
    }

    Result<ApplyCounts> handle(Transaction& transaction,
                               std::span<const Delivery* const> deliveries) {
        if (deliveries.empty()) {
            return ApplyCounts{};
        }
        return handler_.apply(transaction, events_of(deliveries));
    }

    [[nodiscard]] Deliveries all_pending() const {
        Deliveries all;
        all.reserve(pending_.size());
        for (const Delivery& delivery : pending_) {
            all.push_back(&delivery);
        }
        return all;
    }

    /// Parks what is malformed or stands behind a parked event; returns the rest. Asked again
    /// for each piece of a batch, since a key may have failed in an earlier one.
    Result<Deliveries> set_aside_parked(Transaction& transaction, const Deliveries& deliveries,
                                        Timestamp now) {
        Deliveries free;
        free.reserve(deliveries.size());
        for (const Delivery* delivery : deliveries) {
            if (delivery->malformed || parking_.holds(delivery->event.key)) {
                INSTEP_TRY(parking_.park(transaction, *delivery, now));
                INSTEP_FAIL_POINT("consumer.after_park");
            } else {
                free.push_back(delivery);
            }
        }
        return free;
    }

    Result<ApplyCounts> isolate(Transaction& transaction, const Deliveries& deliveries,
                                Timestamp now) {
        ApplyCounts counts;
        for (const Deliveries& piece : split_into_lanes(deliveries, options_.lanes)) {
            INSTEP_TRY_ASSIGN(const Deliveries lane, set_aside_parked(transaction, piece, now));
            INSTEP_TRY(transaction.set_savepoint());
            auto applied = handle(transaction, lane);
            if (!applied) {
                if (!blames_event(applied.error().code)) {
                    return applied;
                }
                INSTEP_TRY(transaction.rollback_to_savepoint());
            }
            INSTEP_TRY(transaction.release_savepoint());
            if (!applied) {
                applied = apply_one_by_one(transaction, lane, now);
                INSTEP_TRY(applied);
            }
            counts += *applied;
        }
        return counts;
    }

    Result<ApplyCounts> apply_one_by_one(Transaction& transaction, const Deliveries& lane,
                                         Timestamp now) {
        ApplyCounts counts;
        for (const Delivery* delivery : lane) {
            if (parking_.holds(delivery->event.key)) {
                INSTEP_TRY(parking_.park(transaction, *delivery, now));
                continue;
            }
            INSTEP_TRY(transaction.set_savepoint());
            const auto applied = handle(transaction, std::span(&delivery, 1));
            if (applied) {
                counts += *applied;
                INSTEP_TRY(transaction.release_savepoint());
                continue;
            }
            if (!blames_event(applied.error().code)) {
                return applied;
            }
            INSTEP_TRY(transaction.rollback_to_savepoint());
            INSTEP_TRY(transaction.release_savepoint());
            INSTEP_TRY(parking_.park(transaction, *delivery, now));
            INSTEP_TRY(parking_.fail_key(transaction, delivery->event.key, applied.error(), now));
            INSTEP_FAIL_POINT("consumer.after_park");
            logger_.error("consumer.key_parked", {{"subscription", options_.subscription},
                                                  {"key", delivery->event.key},
                                                  {"event_id", delivery->event.id},
                                                  {"type", delivery->event.type},
                                                  {"error", applied.error().message}});
        }
        return counts;
    }

    Result<void> note_progress(Transaction& transaction, ApplyCounts counts, Timestamp now) {
        for (auto& [partition, position] : newest_positions()) {
            INSTEP_TRY(add_progress(transaction, options_.subscription, partition, position,
                                    std::exchange(counts, {}), now));
        }
        return {};
    }

    [[nodiscard]] std::map<std::uint32_t, Position> newest_positions() const {
        std::map<std::uint32_t, Position> newest;
        for (const Delivery& delivery : pending_) {
            newest[delivery.partition] = delivery.position;
        }
        return newest;
    }

    Result<void> acknowledge_pending() {
        for (const auto& [partition, position] : newest_positions()) {
            INSTEP_TRY(subscriber_->acknowledge(partition, position));
            if (const auto held = held_.find(partition); held != held_.end()) {
                held->second.acknowledged = position;
            }
        }
        INSTEP_FAIL_POINT("consumer.after_acknowledge");
        return {};
    }

    Result<std::uint64_t> retry_due_keys() {
        if (parking_.empty()) {
            return 0;
        }
        std::vector<std::uint32_t> partitions;
        for (const auto& [partition, held] : held_) {
            partitions.push_back(partition);
        }
        INSTEP_TRY_ASSIGN(const Timestamp now, connection_->now());
        INSTEP_TRY_ASSIGN(const auto keys, parking_.due(*connection_, now, partitions));
        std::uint64_t retried = 0;
        for (const std::string& key : keys) {
            INSTEP_TRY_ASSIGN(const std::uint64_t applied, retry_key(key, now));
            retried += applied;
        }
        return retried;
    }

    Result<std::uint64_t> retry_key(const std::string& key, Timestamp now) {
        auto applied = apply_parked(key, now);
        if (applied || !blames_event(applied.error().code)) {
            return applied;
        }
        parking_.forgotten();
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection_, TransactionMode::kWrite));
        INSTEP_TRY(check_leases(transaction));
        INSTEP_TRY(parking_.fail_key(transaction, key, applied.error(), now));
        INSTEP_TRY(transaction.commit());
        parking_.kept();
        return 0;
    }

    Result<std::uint64_t> apply_parked(const std::string& key, Timestamp now) {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection_, TransactionMode::kWrite));
        INSTEP_TRY(check_leases(transaction));
        INSTEP_TRY_ASSIGN(const auto parked, parking_.events(transaction, key));
        std::vector<const Event*> events;
        for (const ParkedEvent& next : parked) {
            if (next.malformed) {
                return std::unexpected(*next.malformed);
            }
            events.push_back(&next.event);
        }
        if (!events.empty()) {
            INSTEP_TRY_ASSIGN(const ApplyCounts counts, handler_.apply(transaction, events));
            INSTEP_TRY(parking_.release(transaction, key, parked.back().number));
            INSTEP_TRY(add_progress(transaction, options_.subscription, held_.begin()->first, 0,
                                    counts, now));
        }
        INSTEP_TRY(transaction.commit());
        parking_.kept();
        logger_.info("consumer.key_released",
                     {{"subscription", options_.subscription}, {"key", key}});
        return events.size();
    }

    const ConsumerOptions options_;
    std::unique_ptr<Connection> connection_;
    std::unique_ptr<Subscriber> subscriber_;
    Handler& handler_;
    Logger& logger_;
    Parking parking_;
    std::map<std::uint32_t, HeldPartition> held_;

    /// What is parked in the database is what parking_ has in memory.
    bool parking_known_ = true;

    /// Received, not yet acknowledged; kept over failures so that order is kept too.
    std::vector<Delivery> pending_;
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
    INSTEP_TRY_ASSIGN(auto subscriber, broker.subscribe(SubscribeOptions{
                                           options.subscription, options.topic, options.member,
                                           options.start_at, options.member_timeout}));
    return std::unique_ptr<Consumer>(
        new Consumer(std::make_unique<Impl>(std::move(options), std::move(connection),
                                            std::move(subscriber), handler, random, logger)));
}

Result<std::uint64_t> Consumer::run_once() { return impl_->run_once(); }
void Consumer::wait(std::stop_token stop, std::chrono::milliseconds patience) {
    impl_->wait(stop, patience);
}

}  // namespace instep
