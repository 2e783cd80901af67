#include "parked_changes.hpp"

#include "instep/base/fail_point.hpp"
#include "instep/event/cloudevents.hpp"

#include <utility>

namespace instep {

namespace {

constexpr std::size_t kEventsHeldMax = 10'000;
constexpr std::size_t kBytesHeldMax = 4U * 1024 * 1024;

/// What cannot be read has no key; such messages wait behind each other.
constexpr std::string_view kMalformedKey = "(malformed)";

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

/// Runs the statement for each row of values, if there is any.
Result<std::vector<std::int64_t>> write_rows(Transaction& transaction, std::string_view sql,
                                             std::size_t columns,
                                             const std::vector<ValueView>& values) {
    if (values.empty()) {
        return std::vector<std::int64_t>{};
    }
    return transaction.execute_many(sql, {columns, values});
}

}  // namespace

std::string_view parked_key_of(const Delivery& delivery) {
    return delivery.event.key.empty() ? kMalformedKey : std::string_view(delivery.event.key);
}

std::int64_t ParkedChanges::add(const Delivery& delivery, Timestamp now) {
    const bool is_event = !delivery.malformed;
    NewEvent& added = events_.emplace_back(
        NewEvent{std::string(parked_key_of(delivery)), std::int64_t{delivery.partition},
                 static_cast<std::int64_t>(delivery.position),
                 is_event ? to_json(delivery.event) : delivery.event.data, is_event, now});
    event_bytes_ += added.text.size();
    return static_cast<std::int64_t>(added.text.size());
}

bool ParkedChanges::is_large() const {
    return events_.size() >= kEventsHeldMax || event_bytes_ >= kBytesHeldMax;
}

Result<std::vector<std::string>> ParkedChanges::write(Transaction& transaction) {
    INSTEP_TRY(write_events(transaction));
    INSTEP_TRY(write_skips(transaction));
    // Before the failures: what stands behind a skipped event may have failed for the first time.
    INSTEP_TRY_ASSIGN(auto freed, write_releases(transaction));
    INSTEP_TRY(write_failures(transaction));
    clear();
    return freed;
}

void ParkedChanges::clear() {
    events_.clear();
    event_bytes_ = 0;
    skips_.clear();
    failures_.clear();
    releases_.clear();
}

Result<void> ParkedChanges::write_events(Transaction& transaction) {
    if (events_.empty()) {
        return {};
    }
    std::vector<ValueView> values;
    values.reserve(8 * events_.size());
    for (const NewEvent& event : events_) {
        const std::string_view text = event.text;
        values.insert(values.end(), {std::string_view(subscription_), std::string_view(event.key),
                                     event.partition, event.position,
                                     event.is_event ? ValueView{text} : ValueView{kNull},
                                     event.is_event ? ValueView{kNull} : ValueView{BlobView{text}},
                                     micros(event.parked), static_cast<std::int64_t>(text.size())});
    }
    INSTEP_TRY(write_rows(
        transaction,
        "INSERT INTO instep_parked_event (subscription, key, partition, position, envelope, raw, "
        "parked_us, bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        8, values));
    INSTEP_FAIL_POINT("consumer.after_park");
    return {};
}

/// In the order in which they failed: what stands first of a key is its oldest.
Result<void> ParkedChanges::write_skips(Transaction& transaction) {
    std::vector<ValueView> values;
    for (const Failure& next : skips_) {
        values.insert(values.end(),
                      {std::string_view(subscription_), std::string_view(next.key),
                       micros(next.failed), std::int64_t{next.attempts}, to_string(next.error.code),
                       std::string_view(next.error.message)});
    }
    INSTEP_TRY(write_rows(
        transaction,
        "UPDATE instep_parked_event SET skipped_us = $3, attempts = $4, error_code = $5, "
        "error_message = $6 WHERE number = (SELECT min(number) FROM instep_parked_event "
        "WHERE subscription = $1 AND key = $2 AND skipped_us IS NULL AND discarded_us IS NULL)",
        6, values));
    return {};
}

Result<void> ParkedChanges::write_failures(Transaction& transaction) {
    std::vector<ValueView> values;
    values.reserve(8 * failures_.size());
    for (const Failure& next : failures_) {
        values.insert(
            values.end(),
            {std::string_view(subscription_), std::string_view(next.key),
             std::int64_t{next.attempts}, micros(next.next_try), to_string(next.error.code),
             std::string_view(next.error.message), micros(next.failed),
             next.is_dead ? ValueView{micros(next.failed)} : ValueView{kNull}});
    }
    INSTEP_TRY(write_rows(
        transaction,
        "INSERT INTO instep_parked_key (subscription, key, attempts, next_try_us, error_code, "
        "error_message, parked_us, failed_us, dead_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) "
        "ON CONFLICT (subscription, key) DO UPDATE SET attempts = excluded.attempts, "
        "next_try_us = excluded.next_try_us, error_code = excluded.error_code, "
        "error_message = excluded.error_message, failed_us = excluded.failed_us, "
        "dead_us = excluded.dead_us",
        8, values));
    return {};
}

/// A key is free if nothing waits behind what is gone; otherwise its attempts count anew.
Result<std::vector<std::string>> ParkedChanges::write_releases(Transaction& transaction) {
    std::vector<ValueView> events;
    std::vector<ValueView> keys;
    for (const Release& next : releases_) {
        const std::string_view key = next.key;
        events.insert(events.end(), {std::string_view(subscription_), key, next.number});
        keys.insert(keys.end(), {std::string_view(subscription_), key});
    }
    INSTEP_TRY(write_rows(transaction,
                          "DELETE FROM instep_parked_event WHERE subscription = $1 AND key = $2 "
                          "AND number <= $3 AND skipped_us IS NULL",
                          3, events));
    INSTEP_TRY_ASSIGN(
        const auto freed,
        write_rows(transaction,
                   "DELETE FROM instep_parked_key WHERE subscription = $1 AND key = $2 "
                   "AND NOT EXISTS (SELECT 1 FROM instep_parked_event e "
                   "  WHERE e.subscription = $1 AND e.key = $2 AND e.skipped_us IS NULL)",
                   2, keys));
    std::vector<std::string> free;
    std::vector<ValueView> held;
    for (std::size_t i = 0; i < freed.size(); ++i) {
        if (freed[i] > 0) {
            free.push_back(releases_[i].key);
        } else {
            held.insert(held.end(), {keys[2 * i], keys[2 * i + 1]});
        }
    }
    INSTEP_TRY(write_rows(transaction,
                          "UPDATE instep_parked_key SET attempts = 0 WHERE subscription = $1 "
                          "AND key = $2",
                          2, held));
    return free;
}

}  // namespace instep
