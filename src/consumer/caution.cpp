#include "caution.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace {

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

std::string name_of(const Event& event) { return fmt::format("{}/{}", event.source, event.id); }

}  // namespace

Result<void> Caution::take_over(std::uint32_t partition, bool was_abandoned) {
    alone_.erase(partition);
    begun_.reset();
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection_.query("SELECT events FROM instep_trial WHERE subscription = $1 "
                          "AND partition = $2 AND event = ''",
                          std::initializer_list<ValueView>{std::string_view(subscription_),
                                                           std::int64_t{partition}}));
    INSTEP_TRY_ASSIGN(const bool was_noted, rows->next());
    const auto noted = was_noted ? static_cast<std::uint64_t>(rows->integer(0)) : 0;
    rows.reset();
    if (!was_abandoned) {
        // Whoever gave it up in order was ended by nothing that it tried.
        return was_noted ? forget(partition) : Result<void>{};
    }
    if (was_noted) {
        alone_[partition] = noted;
        parked_left_ = true;
    } else {
        batch_events_left_ = batch_events_max_;
    }
    return {};
}

Result<void> Caution::begin_batch(const TrialCounts& events) {
    INSTEP_TRY_ASSIGN(const Timestamp now, connection_.now());
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection_, TransactionMode::kWrite));
    for (const auto& [partition, count] : events) {
        INSTEP_TRY(transaction.execute(
            "INSERT INTO instep_trial (subscription, partition, event, events, starts, started_us) "
            "VALUES ($1, $2, '', $3, 0, $4) ON CONFLICT (subscription, partition, event) "
            "DO UPDATE SET events = excluded.events, started_us = excluded.started_us",
            {std::string_view(subscription_), std::int64_t{partition},
             static_cast<std::int64_t>(count), micros(now)}));
    }
    return transaction.commit();
}

Result<void> Caution::end_batch(const TrialCounts& events) {
    std::uint64_t tried = 0;
    for (const auto& [partition, count] : events) {
        INSTEP_TRY(forget(partition));
        tried += count;
    }
    batch_events_left_ -= std::min(batch_events_left_, tried);
    return {};
}

Result<std::uint32_t> Caution::begin_event(std::uint32_t partition, const Event& event) {
    std::string name = name_of(event);
    if (begun_ && begun_->event == name) {
        return begun_->ends;
    }
    INSTEP_TRY_ASSIGN(const Timestamp now, connection_.now());
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection_, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query(
            "INSERT INTO instep_trial AS t (subscription, partition, event, events, starts, "
            "started_us) VALUES ($1, $2, $3, 1, 1, $4) ON CONFLICT (subscription, partition, "
            "event) DO UPDATE SET starts = t.starts + 1, started_us = excluded.started_us "
            "RETURNING starts",
            {std::string_view(subscription_), std::int64_t{partition}, std::string_view(name),
             micros(now)}));
    INSTEP_TRY(rows->next());
    const auto ends = static_cast<std::uint32_t>(rows->integer(0) - 1);
    rows.reset();
    INSTEP_TRY(transaction.commit());
    begun_ = Begun{partition, std::move(name), ends};
    return ends;
}

Result<void> Caution::end_event(Transaction& transaction) {
    if (!begun_) {
        return {};
    }
    INSTEP_TRY(transaction.execute(
        "DELETE FROM instep_trial WHERE subscription = $1 AND partition = $2 AND event = $3",
        {std::string_view(subscription_), std::int64_t{begun_->partition},
         std::string_view(begun_->event)}));
    return {};
}

Result<void> Caution::withdraw_event() {
    if (!begun_) {
        return {};
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection_, TransactionMode::kWrite));
    INSTEP_TRY(end_event(transaction));
    INSTEP_TRY(transaction.commit());
    kept();
    return {};
}

void Caution::passed(std::uint32_t partition) {
    std::uint64_t& left = alone_[partition];
    left -= std::min<std::uint64_t>(left, 1);
}

Result<void> Caution::settle() {
    const auto is_done = [](const auto& partition) { return partition.second == 0; };
    if (parked_left_ || !std::ranges::all_of(alone_, is_done)) {
        return {};
    }
    while (!alone_.empty()) {
        INSTEP_TRY(forget(alone_.begin()->first));
        alone_.erase(alone_.begin());
    }
    return {};
}

Result<void> Caution::forget(std::uint32_t partition) {
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection_, TransactionMode::kWrite));
    INSTEP_TRY(
        transaction.execute("DELETE FROM instep_trial WHERE subscription = $1 AND partition = $2",
                            {std::string_view(subscription_), std::int64_t{partition}}));
    return transaction.commit();
}

}  // namespace instep
