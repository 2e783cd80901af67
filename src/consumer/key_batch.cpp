#include "key_batch.hpp"

#include "instep/base/fail_point.hpp"
#include "instep/telemetry/logger.hpp"
#include "replay_mark.hpp"

#include <algorithm>

namespace instep {

Result<Dealt> KeyBatch::apply(std::span<const Delivery> pending) {
    const bool stops = work_.policies.stops_at_any();
    const auto is_malformed = [](const Delivery& delivery) {
        return delivery.malformed.has_value();
    };
    if (stops && std::ranges::any_of(pending, is_malformed)) {
        return in_order(pending);
    }
    auto applied = in_one_piece(pending);
    if (!applied && blames_event(applied.error().code) && !stops) {
        work_.parking.forgotten();
        applied = by_lanes(pending);
    }
    if (applied) {
        return Dealt{pending.size()};
    }
    const ErrorCode code = applied.error().code;
    const bool is_down = work_.stops_where_target_is_down(code);
    if ((is_down && pending.size() > 1) || (stops && blames_event(code))) {
        work_.parking.forgotten();
        return in_order(pending);
    }
    return std::unexpected(std::move(applied).error());
}

Result<void> KeyBatch::in_one_piece(std::span<const Delivery> pending) {
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    if (work_.handler.may_be_seen_early()) {
        INSTEP_TRY_ASSIGN(work_.is_seen_early, work_.connection->relax_commit());
    }
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    INSTEP_TRY_ASSIGN(const Deliveries free, set_aside_parked(transaction, all_of(pending), now));
    INSTEP_TRY_ASSIGN(const ApplyCounts counts, work_.handle(transaction, events_of(free)));
    INSTEP_FAIL_POINT("consumer.after_handle");
    return work_.commit(transaction, counts, newest_positions(pending), now);
}

Result<void> KeyBatch::by_lanes(std::span<const Delivery> pending) {
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    INSTEP_TRY_ASSIGN(const Deliveries free, set_aside_parked(transaction, all_of(pending), now));
    ApplyCounts counts;
    for (const Deliveries& piece : split_into_lanes(free, work_.options.lanes)) {
        // Asked again, since a key may have failed in an earlier piece.
        INSTEP_TRY_ASSIGN(const Deliveries lane, set_aside_parked(transaction, piece, now));
        INSTEP_TRY_ASSIGN(const ApplyCounts applied, apply_lane(transaction, lane, now));
        counts += applied;
    }
    INSTEP_FAIL_POINT("consumer.after_handle");
    return work_.commit(transaction, counts, newest_positions(pending), now);
}

/// So that what stands before a failure takes effect although what stands behind may not be tried.
Result<Dealt> KeyBatch::in_order(std::span<const Delivery> pending) {
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    ApplyCounts counts;
    Dealt dealt;
    for (const Delivery& delivery : pending) {
        const auto goes_on = try_one(transaction, delivery, counts, now);
        if (!goes_on && work_.stops_where_target_is_down(goes_on.error().code)) {
            dealt.failure = goes_on.error();
            break;
        }
        INSTEP_TRY(goes_on);
        ++dealt.deliveries;
        if (!*goes_on) {
            break;
        }
    }
    if (dealt.deliveries > 0) {
        INSTEP_TRY(work_.commit(transaction, counts,
                                newest_positions(pending.first(dealt.deliveries)), now));
    }
    return dealt;
}

bool KeyBatch::waits(const Delivery& delivery) const {
    return work_.parking.holds(delivery.event.key) && !is_passed_over(delivery.event);
}

/// Parks what is malformed or stands behind a parked event; returns the rest.
Result<Deliveries> KeyBatch::set_aside_parked(Transaction& transaction,
                                              const Deliveries& deliveries, Timestamp now) {
    Deliveries free;
    free.reserve(deliveries.size());
    for (const Delivery* delivery : deliveries) {
        if (delivery->malformed || waits(*delivery)) {
            INSTEP_TRY(set_aside(transaction, *delivery, now));
        } else {
            free.push_back(delivery);
        }
    }
    return free;
}

Result<void> KeyBatch::set_aside(Transaction& transaction, const Delivery& delivery,
                                 Timestamp now) {
    INSTEP_TRY(work_.parking.park(transaction, delivery, now));
    const std::string key(parked_key_of(delivery));
    if (delivery.malformed && !work_.parking.holds(key)) {
        INSTEP_TRY(work_.fail_key(transaction, key, {*delivery.malformed}, now));
    }
    INSTEP_FAIL_POINT("consumer.after_park");
    return {};
}

Result<ApplyCounts> KeyBatch::apply_lane(Transaction& transaction, const Deliveries& lane,
                                         Timestamp now) {
    INSTEP_TRY(transaction.set_savepoint());
    auto applied = work_.handle(transaction, events_of(lane));
    if (applied) {
        INSTEP_TRY(transaction.release_savepoint());
        return applied;
    }
    if (!blames_event(applied.error().code)) {
        return applied;
    }
    INSTEP_TRY(transaction.rollback_to_savepoint());
    INSTEP_TRY(transaction.release_savepoint());
    return one_by_one(transaction, lane, now);
}

Result<ApplyCounts> KeyBatch::one_by_one(Transaction& transaction, const Deliveries& lane,
                                         Timestamp now) {
    ApplyCounts counts;
    for (const Delivery* delivery : lane) {
        INSTEP_TRY(try_one(transaction, *delivery, counts, now));
    }
    return counts;
}

Result<bool> KeyBatch::try_one(Transaction& transaction, const Delivery& delivery,
                               ApplyCounts& counts, Timestamp now) {
    if (delivery.malformed || waits(delivery)) {
        INSTEP_TRY(set_aside(transaction, delivery, now));
        return !delivery.malformed || !work_.policies.stops_at(delivery.malformed->code);
    }
    const Delivery* const one = &delivery;
    INSTEP_TRY(transaction.set_savepoint());
    const auto applied = work_.handle(transaction, events_of(std::span(&one, 1)));
    if (applied) {
        counts += *applied;
        INSTEP_TRY(transaction.release_savepoint());
        return true;
    }
    if (!blames_event(applied.error().code) &&
        !work_.stops_where_target_is_down(applied.error().code)) {
        return std::unexpected(applied.error());
    }
    INSTEP_TRY(transaction.rollback_to_savepoint());
    INSTEP_TRY(transaction.release_savepoint());
    if (!blames_event(applied.error().code)) {
        return std::unexpected(applied.error());
    }
    const KeyFailure failure = work_.failure_of(applied.error());
    INSTEP_TRY(refuse(transaction, delivery, failure, now));
    return !work_.policies.stops_at(failure.error.code);
}

Result<void> KeyBatch::give_up(const Delivery& delivery, const KeyFailure& failure) {
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    INSTEP_TRY(refuse(transaction, delivery, failure, now));
    return work_.commit(transaction, {}, newest_positions(std::span(&delivery, 1)), now);
}

Result<void> KeyBatch::refuse(Transaction& transaction, const Delivery& delivery,
                              const KeyFailure& failure, Timestamp now) {
    INSTEP_TRY(work_.parking.park(transaction, delivery, now));
    INSTEP_TRY(work_.fail_key(transaction, delivery.event.key, failure, now));
    INSTEP_FAIL_POINT("consumer.after_park");
    work_.logger.error("consumer.key_parked", {{"subscription", work_.options.subscription},
                                               {"key", delivery.event.key},
                                               {"event_id", delivery.event.id},
                                               {"type", delivery.event.type},
                                               {"error", failure.error.message}});
    return {};
}

}  // namespace instep
