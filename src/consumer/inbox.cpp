#include "inbox.hpp"

#include "instep/consumer/handler.hpp"
#include "instep/db/dialect.hpp"
#include "instep/telemetry/logger.hpp"
#include "replay_mark.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

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

constexpr std::size_t kColumns = 5;

/// "INSERT …" for records from `source`. It writes those that are new: had not taken effect yet, at
/// all or in the replay that brings them.
std::string remember_sql(std::string_view source) {
    return fmt::format(
        "INSERT INTO instep_inbox AS i (subscription, source, event_id, handled_us, replay) {} "
        "ON CONFLICT (subscription, source, event_id) "
        "DO UPDATE SET replay = excluded.replay, handled_us = excluded.handled_us "
        "WHERE i.replay < excluded.replay",
        source);
}

/// Where each event stands, by source and id; fewer than there are events if one is repeated.
using EventName = std::pair<std::string_view, std::string_view>;
using Places = std::map<EventName, std::size_t>;

Places places_of(std::span<const Event* const> events) {
    Places places;
    for (std::size_t i = 0; i < events.size(); ++i) {
        places.emplace(EventName(events[i]->source, events[i]->id), i);
    }
    return places;
}

std::vector<ValueView> records_of(std::string_view subscription,
                                  std::span<const Event* const> events, Timestamp now) {
    std::vector<ValueView> values;
    values.reserve(kColumns * events.size());
    for (const Event* event : events) {
        values.insert(values.end(),
                      {subscription, std::string_view(event->source), std::string_view(event->id),
                       std::int64_t{now.time_since_epoch().count()},
                       static_cast<std::int64_t>(replay_mark(*event).value_or(0))});
    }
    return values;
}

/// For databases that bind arrays: all by one statement, which may not meet an event twice.
Result<std::vector<bool>> remember_at_once(Transaction& transaction, const Places& places,
                                           ParameterRows records) {
    static const std::string sql =
        remember_sql(
            "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], "
            "$5::bigint[])") +
        " RETURNING source, event_id";
    INSTEP_TRY_ASSIGN(const auto rows, transaction.query_bulk(sql, records));
    std::vector<bool> is_new(places.size(), false);
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool has_row, rows->next());
        if (!has_row) {
            return is_new;
        }
        is_new[places.at({rows->text(0), rows->text(1)})] = true;
    }
}

/// In one or few round trips. For each event, whether it is new.
Result<std::vector<bool>> remember(Transaction& transaction, std::string_view subscription,
                                   std::span<const Event* const> events, Timestamp now) {
    const std::vector<ValueView> values = records_of(subscription, events, now);
    const ParameterRows records{kColumns, values};
    if (events.size() > 1 && transaction.dialect().binds_arrays()) {
        const Places places = places_of(events);
        if (places.size() == events.size()) {
            return remember_at_once(transaction, places, records);
        }
    }
    static const std::string sql = remember_sql("VALUES ($1, $2, $3, $4, $5)");
    INSTEP_TRY_ASSIGN(const auto written, transaction.execute_many(sql, records));
    std::vector<bool> is_new;
    is_new.reserve(events.size());
    for (const std::int64_t rows : written) {
        is_new.push_back(rows > 0);
    }
    return is_new;
}

}  // namespace

InboxHandler::InboxHandler(std::string subscription, HandlerFunction function, Logger& logger)
    : subscription_(std::move(subscription)), function_(std::move(function)), logger_(logger) {}

Result<ApplyCounts> InboxHandler::apply(Transaction& transaction,
                                        std::span<const Event* const> events) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    ApplyCounts counts;
    refusal_.reset();
    std::vector<const Event*> due;
    due.reserve(events.size());
    std::ranges::remove_copy_if(events, std::back_inserter(due),
                                [](const Event* event) { return is_passed_over(*event); });
    counts.duplicates_ignored += events.size() - due.size();
    INSTEP_TRY_ASSIGN(const auto is_new, remember(transaction, subscription_, due, now));
    for (std::size_t i = 0; i < due.size(); ++i) {
        const Event* const event = due[i];
        if (!is_new[i]) {
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

Result<void> remember_handled(Transaction& transaction, std::string_view subscription,
                              const Event& event, Timestamp now) {
    const Event* const one = &event;
    INSTEP_TRY(remember(transaction, subscription, std::span(&one, 1), now));
    return {};
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
