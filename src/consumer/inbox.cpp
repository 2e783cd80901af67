#include "instep/consumer/handler.hpp"
#include "instep/telemetry/logger.hpp"
#include "replay_mark.hpp"

#include <fmt/format.h>

#include <exception>

namespace instep {

ApplyCounts& ApplyCounts::operator+=(const ApplyCounts& other) {
    applied += other.applied;
    duplicates_ignored += other.duplicates_ignored;
    stale_ignored += other.stale_ignored;
    not_addressed += other.not_addressed;
    discarded += other.discarded;
    return *this;
}

namespace {

/// The one place where code of others may throw.
Verdict call(const HandlerFunction& function, Transaction& transaction, const Event& event) {
    try {
        return function(transaction, event);
    } catch (const std::exception& thrown) {
        return Verdict::retry(fmt::format("the handler threw: {}", thrown.what()));
    } catch (...) {
        return Verdict::retry("the handler threw something that is no std::exception");
    }
}

}  // namespace

InboxHandler::InboxHandler(std::string subscription, HandlerFunction function, Logger& logger)
    : subscription_(std::move(subscription)), function_(std::move(function)), logger_(logger) {}

Result<ApplyCounts> InboxHandler::apply(Transaction& transaction,
                                        std::span<const Event* const> events) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    ApplyCounts counts;
    refusal_.reset();
    for (const Event* event : events) {
        INSTEP_TRY_ASSIGN(const bool is_new, remember(transaction, *event, now));
        if (!is_new) {
            ++counts.duplicates_ignored;
            continue;
        }
        const Verdict verdict = call(function_, transaction, *event);
        switch (verdict.kind) {
            case Verdict::Kind::kDone:
                ++counts.applied;
                break;
            case Verdict::Kind::kRetry:
                refusal_ = Refusal{verdict.error, verdict.after};
                return fail(ErrorCode::kRejected, fmt::format("event {} of {}: {}", event->id,
                                                              event->type, verdict.reason));
            case Verdict::Kind::kUnavailable:
                return fail(ErrorCode::kUnavailable,
                            fmt::format("the handler of {} finds its target down at event {}: {}",
                                        event->type, event->id, verdict.reason));
            case Verdict::Kind::kDiscard:
                ++counts.discarded;
                logger_.warn("consumer.discarded", {{"subscription", subscription_},
                                                    {"event_id", event->id},
                                                    {"reason", verdict.reason}});
                break;
        }
    }
    return counts;
}

/// True if the event has not taken effect yet: at all, or in the replay that brings it.
Result<bool> InboxHandler::remember(Transaction& transaction, const Event& event, Timestamp now) {
    if (is_passed_over(event)) {
        return false;
    }
    const auto replay = static_cast<std::int64_t>(replay_mark(event).value_or(0));
    INSTEP_TRY_ASSIGN(
        const std::int64_t written,
        transaction.execute(
            "INSERT INTO instep_inbox AS i (subscription, source, event_id, handled_us, replay) "
            "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (subscription, source, event_id) "
            "DO UPDATE SET replay = excluded.replay, handled_us = excluded.handled_us "
            "WHERE i.replay < excluded.replay",
            {std::string_view(subscription_), std::string_view(event.source),
             std::string_view(event.id), std::int64_t{now.time_since_epoch().count()}, replay}));
    return written > 0;
}

Result<std::uint64_t> trim_inbox(Transaction& transaction, Timestamp before,
                                 std::uint32_t rows_max) {
    INSTEP_TRY_ASSIGN(
        const std::int64_t trimmed,
        transaction.execute(
            "DELETE FROM instep_inbox WHERE (subscription, source, event_id) IN ("
            "  SELECT subscription, source, event_id FROM instep_inbox WHERE handled_us < $1 "
            "  ORDER BY handled_us LIMIT $2)",
            {std::int64_t{before.time_since_epoch().count()}, std::int64_t{rows_max}}));
    return static_cast<std::uint64_t>(trimmed);
}

}  // namespace instep
