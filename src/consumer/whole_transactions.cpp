#include "whole_transactions.hpp"

#include "instep/base/fail_point.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace instep {

namespace {

/// So often, and so long, is waited for events that the broker has been asked for again.
constexpr int kLooksMax = 100;
constexpr std::chrono::milliseconds kLookWait{20};

}  // namespace

WholeTransactions::WholeTransactions(Workplace& work, Subscriber& subscriber)
    : work_(work),
      subscriber_(subscriber),
      intake_(work.options.transaction_events_max, work.options.transaction_bytes_max) {}

Result<void> WholeTransactions::nothing_came() {
    if (!intake_.waits()) {
        return {};
    }
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    waits_since_ = waits_since_.value_or(now);
    if (now - *waits_since_ < work_.options.member_timeout) {
        return {};
    }
    const std::uint32_t partition = work_.held.first();
    INSTEP_TRY(subscriber_.seek(partition, work_.held.acknowledged(partition)));
    forget();
    return {};
}

/// What speaks of a range may be to blame, or what it is held against, which a repair mends
/// that comes by this same subscription. So it is set aside, and the changes are tried alone.
Result<void> WholeTransactions::apply(std::span<const Delivery> pending) {
    auto applied = apply_pending(pending);
    if (applied || !blames_event(applied.error().code)) {
        return applied;
    }
    work_.parking.forgotten();
    range_refusal_ = std::move(applied).error();
    const auto has_ranges = [](const Delivery& delivery) {
        return speaks_of_range(delivery.event.operation);
    };
    applied = std::ranges::any_of(pending, has_ranges) ? apply_pending(pending)
                                                       : std::unexpected(*range_refusal_);
    range_refusal_.reset();
    return applied ? applied : refused(std::move(applied).error());
}

Result<void> WholeTransactions::apply_pending(std::span<const Delivery> pending) {
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    INSTEP_TRY_ASSIGN(const Deliveries free, set_aside_ranges(transaction, all_of(pending), now));
    INSTEP_TRY_ASSIGN(const ApplyCounts counts, work_.handle(transaction, events_of(free)));
    INSTEP_FAIL_POINT("consumer.after_handle");
    return work_.commit(transaction, counts, newest_positions(pending), now);
}

Result<std::uint64_t> WholeTransactions::apply_far() {
    if (!far_applied_) {
        INSTEP_TRY_ASSIGN(far_applied_, apply_or_set_aside());
    }
    // What was read behind it comes again. Should either step fail, both are tried once more, and
    // they alone: a broker need not deliver again what it knows to be acknowledged.
    const std::uint32_t partition = work_.held.first();
    const Position end = *intake_.far_boundary();
    INSTEP_TRY(subscriber_.seek(partition, end));
    INSTEP_TRY(subscriber_.acknowledge(partition, end));
    work_.held.acknowledged(partition, end);
    INSTEP_FAIL_POINT("consumer.after_acknowledge");
    const std::uint64_t applied = *far_applied_;
    forget();
    return applied;
}

Result<std::uint64_t> WholeTransactions::apply_or_set_aside() {
    auto applied = apply_parts();
    if (!applied && blames_event(applied.error().code)) {
        work_.parking.forgotten();
        range_refusal_ = std::move(applied).error();
        applied = apply_parts();
        range_refusal_.reset();
    }
    if (!applied && blames_event(applied.error().code)) {
        return refused(std::move(applied).error());
    }
    return applied;
}

Result<std::uint64_t> WholeTransactions::apply_parts() {
    const Position end = *intake_.far_boundary();
    const std::uint32_t partition = work_.held.first();
    INSTEP_TRY(subscriber_.seek(partition, work_.held.acknowledged(partition)));
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    ApplyCounts counts;
    std::uint64_t handled = 0;
    for (Position reached = 0; reached < end;) {
        // Keeps the membership, for this may take long. The lease needs no care: its row is
        // locked. Positions end with the assignment.
        INSTEP_TRY_ASSIGN(const auto assignments, subscriber_.assignments());
        if (!work_.held.are_assigned(assignments)) {
            return fail(ErrorCode::kFenced,
                        fmt::format("{} lost its partition in the middle of a transaction",
                                    work_.options.subscription));
        }
        INSTEP_TRY_ASSIGN(const auto part, receive_again(end));
        INSTEP_TRY_ASSIGN(const Deliveries free, set_aside_ranges(transaction, all_of(part), now));
        INSTEP_TRY_ASSIGN(const ApplyCounts applied, work_.handle(transaction, events_of(free)));
        counts += applied;
        handled += part.size();
        reached = part.back().position;
    }
    INSTEP_TRY(work_.commit(transaction, counts,
                            {{partition, {.partition = partition, .position = end}}}, now));
    return handled;
}

/// The next events up to `end`. Most brokers have nothing at hand right after a seek.
Result<std::vector<Delivery>> WholeTransactions::receive_again(Position end) {
    for (int looks = 0; looks < kLooksMax; ++looks) {
        INSTEP_TRY_ASSIGN(auto part, subscriber_.receive(work_.options.batch_events_max,
                                                         work_.options.batch_bytes_max));
        std::erase_if(part, [&](const Delivery& delivery) { return delivery.position > end; });
        if (!part.empty()) {
            return part;
        }
        subscriber_.wait({}, kLookWait);
    }
    return fail(ErrorCode::kUnavailable,
                fmt::format("{} got no events up to position {} from the broker again",
                            work_.options.subscription, end));
}

Result<Deliveries> WholeTransactions::set_aside_ranges(Transaction& transaction,
                                                       const Deliveries& deliveries,
                                                       Timestamp now) {
    Deliveries free;
    free.reserve(deliveries.size());
    for (const Delivery* delivery : deliveries) {
        if (delivery->malformed) {
            return std::unexpected(*delivery->malformed);
        }
        const std::string& key = delivery->event.key;
        const bool waits = work_.parking.holds(key);
        if (!speaks_of_range(delivery->event.operation) || (!waits && !range_refusal_)) {
            free.push_back(delivery);
            continue;
        }
        work_.parking.park(*delivery, now);
        if (!waits) {
            work_.parking.fail_key(key, {*range_refusal_}, now);
        }
        if (work_.parking.is_large()) {
            INSTEP_TRY(work_.parking.write(transaction));
        }
    }
    return free;
}

std::unexpected<Error> WholeTransactions::refused(Error error) const {
    return fail_in(fmt::format("{} stands before a transaction of its owner that cannot be "
                               "applied",
                               work_.options.subscription),
                   std::move(error));
}

}  // namespace instep
