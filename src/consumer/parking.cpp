#include "parking.hpp"

#include "instep/event/cloudevents.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace {

constexpr std::int64_t kDueKeysMax = 64;

/// Bounds of what a handler may ask for.
constexpr std::chrono::milliseconds kRetryAfterMin{1};
constexpr std::chrono::milliseconds kRetryAfterMax{std::chrono::hours{24 * 30}};

/// What cannot be read has no key; such messages wait behind each other.
constexpr std::string_view kMalformedKey = "(malformed)";

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

}  // namespace

std::string_view parked_key_of(const Delivery& delivery) {
    return delivery.event.key.empty() ? kMalformedKey : std::string_view(delivery.event.key);
}

Parking::Parking(std::string subscription, const FailurePolicies& policies, Random& random)
    : subscription_(std::move(subscription)), policies_(policies), random_(random) {}

Result<void> Parking::load(Connection& connection) {
    keys_.clear();
    forgotten();
    next_due_.reset();
    INSTEP_TRY_ASSIGN(
        auto totals,
        connection.query("SELECT count(skipped_us), CAST(coalesce(sum(bytes), 0) AS bigint) "
                         "FROM instep_parked_event WHERE subscription = $1",
                         std::initializer_list<ValueView>{std::string_view(subscription_)}));
    INSTEP_TRY(totals->next());
    skipped_.kept = totals->integer(0);
    bytes_.kept = totals->integer(1);
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query("SELECT key FROM instep_parked_key WHERE subscription = $1",
                         std::initializer_list<ValueView>{std::string_view(subscription_)}));
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return {};
        }
        keys_.emplace(rows->text(0));
    }
}

bool Parking::holds(std::string_view key) const {
    return added_.contains(key) || (keys_.contains(key) && !removed_.contains(key));
}

Result<void> Parking::park(Transaction& transaction, const Delivery& delivery, Timestamp now) {
    const bool readable = !delivery.malformed;
    const std::string envelope = readable ? to_json(delivery.event) : std::string();
    const auto bytes =
        static_cast<std::int64_t>(readable ? envelope.size() : delivery.event.data.size());
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_parked_event (subscription, key, partition, position, envelope, raw, "
        "parked_us, bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        {std::string_view(subscription_), parked_key_of(delivery), std::int64_t{delivery.partition},
         static_cast<std::int64_t>(delivery.position),
         readable ? ValueView{std::string_view(envelope)} : ValueView{kNull},
         readable ? ValueView{kNull} : ValueView{BlobView{delivery.event.data}}, micros(now),
         bytes}));
    bytes_.change += bytes;
    return {};
}

Result<FailedKey> Parking::fail_key(Transaction& transaction, std::string_view key,
                                    const KeyFailure& failure, Timestamp now) {
    INSTEP_TRY_ASSIGN(auto rows, transaction.query("SELECT attempts FROM instep_parked_key "
                                                   "WHERE subscription = $1 AND key = $2",
                                                   {std::string_view(subscription_), key}));
    INSTEP_TRY_ASSIGN(const bool known, rows->next());
    const auto attempts = static_cast<std::uint32_t>((known ? rows->integer(0) : 0) + 1);
    rows.reset();
    const FailurePolicy& policy = policies_.of(failure.error.code);
    const bool is_last =
        failure.is_final || (policy.attempts_max > 0 && attempts >= policy.attempts_max);
    if (is_last && policy.on_failure == OnFailure::kSkip) {
        INSTEP_TRY(skip_oldest(transaction, key, attempts, failure.error, now));
        INSTEP_TRY(go_on(transaction, key));
        return FailedKey::kSkipped;
    }
    const auto delay = failure.retry_after.value_or(policy.backoff.delay(attempts, random_));
    const Timestamp next_try = now + std::clamp(delay, kRetryAfterMin, kRetryAfterMax);
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_parked_key (subscription, key, attempts, next_try_us, error_code, "
        "error_message, parked_us, failed_us, dead_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) "
        "ON CONFLICT (subscription, key) DO UPDATE SET attempts = excluded.attempts, "
        "next_try_us = excluded.next_try_us, error_code = excluded.error_code, "
        "error_message = excluded.error_message, failed_us = excluded.failed_us, "
        "dead_us = excluded.dead_us",
        {std::string_view(subscription_), key, std::int64_t{attempts}, micros(next_try),
         to_string(failure.error.code), std::string_view(failure.error.message), micros(now),
         is_last ? ValueView{micros(now)} : ValueView{kNull}}));
    add(key);
    if (is_last) {
        return FailedKey::kDead;
    }
    next_due_ = next_due_ ? std::min(*next_due_, next_try) : next_try;
    return FailedKey::kRetried;
}

Result<void> Parking::skip_oldest(Transaction& transaction, std::string_view key,
                                  std::uint32_t attempts, const Error& error, Timestamp now) {
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_parked_event SET skipped_us = $3, attempts = $4, error_code = $5, "
        "error_message = $6 WHERE number = (SELECT min(number) FROM instep_parked_event "
        "WHERE subscription = $1 AND key = $2 AND skipped_us IS NULL AND discarded_us IS NULL)",
        {std::string_view(subscription_), key, micros(now), std::int64_t{attempts},
         to_string(error.code), std::string_view(error.message)}));
    ++skipped_.change;
    return {};
}

Result<std::vector<DueKey>> Parking::due(Connection& connection, Timestamp now,
                                         std::span<const std::uint32_t> partitions) {
    std::string held;
    for (const std::uint32_t partition : partitions) {
        held += fmt::format("{}{}", held.empty() ? "" : ", ", partition);
    }
    // Another member may hold the key's partition; only its holder may try.
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query(
            fmt::format("SELECT k.key, k.next_try_us, k.attempts, (SELECT e.partition FROM "
                        "instep_parked_event e WHERE e.subscription = k.subscription AND "
                        "e.key = k.key AND e.skipped_us IS NULL ORDER BY e.number LIMIT 1) FROM "
                        "instep_parked_key k "
                        "WHERE k.subscription = $1 AND k.dead_us IS NULL AND EXISTS (SELECT 1 FROM "
                        "instep_parked_event e "
                        "  WHERE e.subscription = k.subscription AND e.key = k.key "
                        "    AND e.skipped_us IS NULL AND e.partition IN ({})) "
                        "ORDER BY k.next_try_us LIMIT $2",
                        held),
            std::initializer_list<ValueView>{std::string_view(subscription_), kDueKeysMax}));
    std::vector<DueKey> keys;
    next_due_.reset();
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return keys;
        }
        const Timestamp next_try{std::chrono::microseconds{rows->integer(1)}};
        if (next_try > now) {
            next_due_ = next_try;
            return keys;
        }
        keys.push_back({std::string(rows->text(0)), static_cast<std::uint32_t>(rows->integer(3)),
                        static_cast<std::uint32_t>(rows->integer(2))});
    }
}

Result<std::vector<ParkedEvent>> Parking::events(Transaction& transaction, std::string_view key,
                                                 std::int64_t count) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query("SELECT number, envelope, discarded_us FROM instep_parked_event "
                          "WHERE subscription = $1 AND key = $2 AND skipped_us IS NULL "
                          "ORDER BY number LIMIT $3",
                          {std::string_view(subscription_), key, count}));
    std::vector<ParkedEvent> events;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return events;
        }
        ParkedEvent parked;
        parked.number = rows->integer(0);
        parked.is_discarded = !rows->is_null(2);
        auto event = rows->is_null(1) ? fail(ErrorCode::kCorrupt, "the message is not an event")
                                      : from_json(rows->text(1));
        if (event) {
            parked.event = std::move(*event);
        } else {
            parked.malformed = std::move(event).error();
        }
        events.push_back(std::move(parked));
    }
}

Result<void> Parking::release(Transaction& transaction, std::string_view key, std::int64_t number) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query("DELETE FROM instep_parked_event WHERE subscription = $1 AND key = $2 "
                          "AND number <= $3 AND skipped_us IS NULL RETURNING bytes",
                          {std::string_view(subscription_), key, number}));
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            break;
        }
        bytes_.change -= rows->integer(0);
    }
    rows.reset();
    return go_on(transaction, key);
}

Result<void> Parking::go_on(Transaction& transaction, std::string_view key) {
    INSTEP_TRY_ASSIGN(
        const std::int64_t freed,
        transaction.execute("DELETE FROM instep_parked_key WHERE subscription = $1 AND key = $2 "
                            "AND NOT EXISTS (SELECT 1 FROM instep_parked_event e "
                            "  WHERE e.subscription = $1 AND e.key = $2 AND e.skipped_us IS NULL)",
                            {std::string_view(subscription_), key}));
    if (freed > 0) {
        remove(key);
        return {};
    }
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_parked_key SET attempts = 0 WHERE subscription = $1 AND key = $2",
        {std::string_view(subscription_), key}));
    return {};
}

void Parking::add(std::string_view key) {
    added_.emplace(key);
    removed_.erase(std::string(key));
}

void Parking::remove(std::string_view key) {
    added_.erase(std::string(key));
    removed_.emplace(key);
}

void Parking::kept() {
    keys_.merge(added_);
    for (const std::string& key : removed_) {
        keys_.erase(key);
    }
    for (Total* total : {&skipped_, &bytes_}) {
        total->kept += total->change;
    }
    forgotten();
}

void Parking::forgotten() {
    added_.clear();
    removed_.clear();
    skipped_.change = 0;
    bytes_.change = 0;
}

}  // namespace instep
