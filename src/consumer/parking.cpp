#include "parking.hpp"

#include "instep/consumer/consumer.hpp"
#include "instep/event/cloudevents.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace {

constexpr std::int64_t kDueKeysMax = 64;
constexpr std::int64_t kEventsATryMax = 1000;

/// What cannot be read has no key; such messages wait behind each other.
constexpr std::string_view kMalformedKey = "(malformed)";

std::string_view key_of(const Delivery& delivery) {
    return delivery.event.key.empty() ? kMalformedKey : std::string_view(delivery.event.key);
}

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

}  // namespace

Parking::Parking(std::string subscription, BackoffPolicy backoff, Random& random)
    : subscription_(std::move(subscription)), backoff_(backoff), random_(random) {}

Result<void> Parking::load(Connection& connection) {
    keys_.clear();
    next_due_.reset();
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
    const std::string_view key = key_of(delivery);
    const bool readable = !delivery.malformed;
    const std::string envelope = readable ? to_json(delivery.event) : std::string();
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_parked_event (subscription, key, partition, position, envelope, raw, "
        "parked_us) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        {std::string_view(subscription_), key, std::int64_t{delivery.partition},
         static_cast<std::int64_t>(delivery.position),
         readable ? ValueView{std::string_view(envelope)} : ValueView{kNull},
         readable ? ValueView{kNull} : ValueView{BlobView{delivery.event.data}}, micros(now)}));
    if (!readable && !holds(key)) {
        INSTEP_TRY(fail_key(transaction, key, *delivery.malformed, now));
    }
    return {};
}

Result<void> Parking::fail_key(Transaction& transaction, std::string_view key, const Error& error,
                               Timestamp now) {
    INSTEP_TRY_ASSIGN(auto rows, transaction.query("SELECT attempts FROM instep_parked_key "
                                                   "WHERE subscription = $1 AND key = $2",
                                                   {std::string_view(subscription_), key}));
    INSTEP_TRY_ASSIGN(const bool known, rows->next());
    const auto attempts = static_cast<std::uint32_t>((known ? rows->integer(0) : 0) + 1);
    rows.reset();
    const Timestamp next_try = now + backoff_.delay(attempts, random_);
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_parked_key (subscription, key, attempts, next_try_us, error_code, "
        "error_message, parked_us) VALUES ($1, $2, $3, $4, $5, $6, $7) "
        "ON CONFLICT (subscription, key) DO UPDATE SET attempts = excluded.attempts, "
        "next_try_us = excluded.next_try_us, error_code = excluded.error_code, "
        "error_message = excluded.error_message",
        {std::string_view(subscription_), key, std::int64_t{attempts}, micros(next_try),
         to_string(error.code), std::string_view(error.message), micros(now)}));
    added_.emplace(key);
    next_due_ = next_due_ ? std::min(*next_due_, next_try) : next_try;
    return {};
}

Result<std::vector<std::string>> Parking::due(Connection& connection, Timestamp now,
                                              std::span<const std::uint32_t> partitions) {
    std::string held;
    for (const std::uint32_t partition : partitions) {
        held += fmt::format("{}{}", held.empty() ? "" : ", ", partition);
    }
    // Another member may hold the key's partition; only its holder may try.
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query(
            fmt::format("SELECT k.key, k.next_try_us FROM instep_parked_key k "
                        "WHERE k.subscription = $1 AND EXISTS (SELECT 1 FROM instep_parked_event e "
                        "  WHERE e.subscription = k.subscription AND e.key = k.key "
                        "    AND e.partition IN ({})) "
                        "ORDER BY k.next_try_us LIMIT $2",
                        held),
            std::initializer_list<ValueView>{std::string_view(subscription_), kDueKeysMax}));
    std::vector<std::string> keys;
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
        keys.emplace_back(rows->text(0));
    }
}

Result<std::vector<ParkedEvent>> Parking::events(Transaction& transaction, std::string_view key) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query("SELECT number, envelope FROM instep_parked_event "
                          "WHERE subscription = $1 AND key = $2 ORDER BY number LIMIT $3",
                          {std::string_view(subscription_), key, kEventsATryMax}));
    std::vector<ParkedEvent> events;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return events;
        }
        ParkedEvent parked;
        parked.number = rows->integer(0);
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
    INSTEP_TRY(
        transaction.execute("DELETE FROM instep_parked_event "
                            "WHERE subscription = $1 AND key = $2 AND number <= $3",
                            {std::string_view(subscription_), key, number}));
    INSTEP_TRY_ASSIGN(
        const std::int64_t freed,
        transaction.execute("DELETE FROM instep_parked_key WHERE subscription = $1 AND key = $2 "
                            "AND NOT EXISTS (SELECT 1 FROM instep_parked_event e "
                            "  WHERE e.subscription = $1 AND e.key = $2)",
                            {std::string_view(subscription_), key}));
    if (freed > 0) {
        removed_.emplace(key);
    }
    return {};
}

void Parking::kept() {
    keys_.merge(added_);
    for (const std::string& key : removed_) {
        keys_.erase(key);
    }
    forgotten();
}

void Parking::forgotten() {
    added_.clear();
    removed_.clear();
}

Result<std::vector<ParkedKey>> list_parked_keys(Connection& connection,
                                                std::string_view subscription,
                                                std::uint32_t count) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query(
            "SELECT k.subscription, k.key, k.attempts, k.parked_us, k.next_try_us, k.error_code, "
            "k.error_message, (SELECT count(*) FROM instep_parked_event e "
            "  WHERE e.subscription = k.subscription AND e.key = k.key) "
            "FROM instep_parked_key k WHERE $1 = '' OR k.subscription = $1 "
            "ORDER BY k.parked_us, k.key LIMIT $2",
            std::initializer_list<ValueView>{subscription, std::int64_t{count}}));
    std::vector<ParkedKey> keys;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return keys;
        }
        ParkedKey key;
        key.subscription = rows->text(0);
        key.key = rows->text(1);
        key.attempts = static_cast<std::uint32_t>(rows->integer(2));
        key.parked = Timestamp{std::chrono::microseconds{rows->integer(3)}};
        key.next_try = Timestamp{std::chrono::microseconds{rows->integer(4)}};
        key.error_code = rows->text(5);
        key.error_message = rows->text(6);
        key.events = static_cast<std::uint64_t>(rows->integer(7));
        keys.push_back(std::move(key));
    }
}

}  // namespace instep
