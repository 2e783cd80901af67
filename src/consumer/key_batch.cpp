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
    // A commit whose outcome is unknown may have parked keys that are not known here.
    const bool is_down =
        work_.stops_where_target_is_down(code) && work_.target == Workplace::Target::kDown;
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
    const Deliveries free = set_aside_parked(all_of(pending), now);
    INSTEP_TRY_ASSIGN(const ApplyCounts counts, work_.handle(transaction, events_of(free)));
    INSTEP_FAIL_POINT("consumer.after_handle");
    return work_.commit(transaction, counts, newest_positions(pending), now);
}

Result<void> KeyBatch::by_lanes(std::span<const Delivery> pending) {
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    Course course{Attempts(work_, transaction), now};
    const Deliveries free = set_aside_parked(all_of(pending), now);
    for (const Deliveries& lane : split_into_lanes(free, work_.options.lanes)) {
        INSTEP_TRY(apply_lane(course, lane));
    }
    INSTEP_FAIL_POINT("consumer.after_handle");
    return work_.commit(transaction, course.counts, newest_positions(pending), now);
}

/// So that what stands before a failure takes effect although what stands behind may not be tried.
Result<Dealt> KeyBatch::in_order(std::span<const Delivery> pending) {
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    Course course{Attempts(work_, transaction), now};
    Dealt dealt;
    for (const Delivery& delivery : pending) {
        const auto goes_on = try_one(course, delivery);
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
        INSTEP_TRY(work_.commit(transaction, course.counts,
                                newest_positions(pending.first(dealt.deliveries)), now));
    }
    return dealt;
}

bool KeyBatch::waits(const Delivery& delivery) const {
    return work_.parking.holds(delivery.event.key) && !is_passed_over(delivery.event);
}

/// Parks what is malformed or stands behind a parked event; returns the rest.
Deliveries KeyBatch::set_aside_parked(const Deliveries& deliveries, Timestamp now) {
    Deliveries free;
    free.reserve(deliveries.size());
    for (const Delivery* delivery : deliveries) {
        if (delivery->malformed || waits(*delivery)) {
            set_aside(*delivery, now);
        } else {
            free.push_back(delivery);
        }
    }
    return free;
}

void KeyBatch::set_aside(const Delivery& delivery, Timestamp now) {
    work_.parking.park(delivery, now);
    const std::string_view key = parked_key_of(delivery);
    if (delivery.malformed && !work_.parking.holds(key)) {
        work_.fail_key(key, {*delivery.malformed}, now);
    }
}

/// All of it at once; if something of it fails, one by one.
Result<void> KeyBatch::apply_lane(Course& course, const Deliveries& lane) {
    // Asked again, since a key may have failed in an earlier piece.
    const Deliveries free = set_aside_parked(lane, course.now);
    const auto applied = course.attempts.apply(events_of(free));
    if (applied) {
        course.counts += *applied;
        return {};
    }
    if (!blames_event(applied.error().code)) {
        return std::unexpected(applied.error());
    }
    for (const Delivery* delivery : free) {
        INSTEP_TRY(try_one(course, *delivery));
    }
    return {};
}

Result<bool> KeyBatch::try_one(Course& course, const Delivery& delivery) {
    if (delivery.malformed || waits(delivery)) {
        set_aside(delivery, course.now);
        return !delivery.malformed || !work_.policies.stops_at(delivery.malformed->code);
    }
    const Delivery* const one = &delivery;
    const auto applied = course.attempts.apply(events_of(std::span(&one, 1)));
    if (applied) {
        course.counts += *applied;
        return true;
    }
    if (!blames_event(applied.error().code)) {
        return std::unexpected(applied.error());
    }
    const KeyFailure failure = work_.failure_of(applied.error());
    refuse(delivery, failure, course.now);
    return !work_.policies.stops_at(failure.error.code);
}

Result<void> KeyBatch::give_up(const Delivery& delivery, const KeyFailure& failure) {
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    refuse(delivery, failure, now);
    return work_.commit(transaction, {}, newest_positions(std::span(&delivery, 1)), now);
}

void KeyBatch::refuse(const Delivery& delivery, const KeyFailure& failure, Timestamp now) {
    work_.parking.park(delivery, now);
    work_.fail_key(delivery.event.key, failure, now);
    work_.logger.error("consumer.key_parked", {{"subscription", work_.options.subscription},
                                               {"key", delivery.event.key},
                                               {"event_id", delivery.event.id},
                                               {"type", delivery.event.type},
                                               {"error", failure.error.message}});
}

}  // namespace instep
