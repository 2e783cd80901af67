#include "parking.hpp"

#include "instep/db/dialect.hpp"
#include "instep/event/cloudevents.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace {

constexpr std::int64_t kDueKeysMax = 64;

/// Bounds of what a handler may ask for.
constexpr std::chrono::milliseconds kRetryAfterMin{1};
constexpr std::chrono::milliseconds kRetryAfterMax{std::chrono::hours{24 * 30}};

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }
Timestamp time_of(std::int64_t micros) { return Timestamp{std::chrono::microseconds{micros}}; }

constexpr std::string_view kWaitingOfOne =
    "SELECT k.key, k.attempts, e.number, e.envelope, e.discarded_us, e.bytes "
    "FROM instep_parked_key k JOIN instep_parked_event e "
    "  ON e.subscription = k.subscription AND e.key = k.key "
    "WHERE k.subscription = $1 AND k.key = $2 AND e.skipped_us IS NULL "
    "ORDER BY e.number LIMIT $3";

/// The same of many keys at once, where the database binds arrays.
constexpr std::string_view kWaitingOfMany =
    "SELECT k.key, k.attempts, e.number, e.envelope, e.discarded_us, e.bytes "
    "FROM unnest($1::text[], $2::text[]) AS n (subscription, key) "
    "JOIN instep_parked_key k ON k.subscription = n.subscription AND k.key = n.key, "
    "LATERAL (SELECT number, envelope, discarded_us, bytes FROM instep_parked_event w "
    "  WHERE w.subscription = k.subscription AND w.key = k.key AND w.skipped_us IS NULL "
    "  ORDER BY number LIMIT {}) e ORDER BY e.number";

/// Adds the rows to what waits for the keys, which are there already.
Result<void> read_waiting(Cursor& rows, std::vector<WaitingKey>& keys) {
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows.next());
        if (!more) {
            return {};
        }
        const auto key = std::ranges::find(keys, rows.text(0), &WaitingKey::key);
        key->attempts = static_cast<std::uint32_t>(rows.integer(1));
        ParkedEvent& parked = key->events.emplace_back();
        parked.number = rows.integer(2);
        parked.is_discarded = !rows.is_null(4);
        parked.bytes = rows.integer(5);
        auto event = rows.is_null(3) ? fail(ErrorCode::kCorrupt, "the message is not an event")
                                     : from_json(rows.text(3));
        if (event) {
            parked.event = std::move(*event);
        } else {
            parked.malformed = std::move(event).error();
        }
    }
}

}  // namespace

Parking::Parking(std::string subscription, const FailurePolicies& policies, Random& random)
    : subscription_(std::move(subscription)),
      policies_(policies),
      random_(random),
      changes_(subscription_) {}

Result<void> Parking::load(Connection& connection) {
    INSTEP_TRY_ASSIGN(const ParkedTotals totals, count(connection));
    Keys keys;
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query("SELECT key FROM instep_parked_key WHERE subscription = $1",
                         std::initializer_list<ValueView>{std::string_view(subscription_)}));
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            break;
        }
        keys.emplace(rows->text(0));
    }
    forgotten();
    next_due_.reset();
    keys_ = std::move(keys);
    skipped_.kept = static_cast<std::int64_t>(totals.skipped_events);
    bytes_.kept = static_cast<std::int64_t>(totals.bytes);
    return {};
}

Result<ParkedTotals> Parking::count(Connection& connection) {
    INSTEP_TRY_ASSIGN(
        const auto rows,
        connection.query("SELECT (SELECT count(*) FROM instep_parked_key WHERE subscription = $1), "
                         "count(skipped_us), CAST(coalesce(sum(bytes), 0) AS bigint) "
                         "FROM instep_parked_event WHERE subscription = $1",
                         std::initializer_list<ValueView>{std::string_view(subscription_)}));
    INSTEP_TRY(rows->next());
    return ParkedTotals{static_cast<std::uint64_t>(rows->integer(0)),
                        static_cast<std::uint64_t>(rows->integer(1)),
                        static_cast<std::uint64_t>(rows->integer(2))};
}

bool Parking::holds(std::string_view key) const {
    return added_.contains(key) || (keys_.contains(key) && !removed_.contains(key));
}

void Parking::park(const Delivery& delivery, Timestamp now) {
    bytes_.change += changes_.add(delivery, now);
}

FailedKey Parking::fail_key(std::string_view key, const KeyFailure& failure, Timestamp now) {
    const std::uint32_t attempts = failure.attempts + 1;
    const FailurePolicy& policy = policies_.of(failure.error.code);
    const bool is_last =
        failure.is_final || (policy.attempts_max > 0 && attempts >= policy.attempts_max);
    ParkedChanges::Failure failed{.key = std::string(key),
                                  .attempts = attempts,
                                  .error = failure.error,
                                  .failed = now,
                                  .is_dead = is_last};
    if (is_last && policy.on_failure == OnFailure::kSkip) {
        changes_.skip(std::move(failed));
        changes_.release(key, 0);
        ++skipped_.change;
        return FailedKey::kSkipped;
    }
    const auto delay = failure.retry_after.value_or(policy.backoff.delay(attempts, random_));
    failed.next_try = now + std::clamp(delay, kRetryAfterMin, kRetryAfterMax);
    if (!is_last) {
        next_due_ = next_due_ ? std::min(*next_due_, failed.next_try) : failed.next_try;
    }
    changes_.fail(std::move(failed));
    add(key);
    return is_last ? FailedKey::kDead : FailedKey::kRetried;
}

void Parking::release(std::string_view key, std::span<const ParkedEvent> events) {
    for (const ParkedEvent& event : events) {
        bytes_.change -= event.bytes;
    }
    changes_.release(key, events.back().number);
}

Result<void> Parking::write(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(const auto freed, changes_.write(transaction));
    for (const std::string& key : freed) {
        remove(key);
    }
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
            fmt::format("SELECT k.key, k.next_try_us, (SELECT e.partition FROM "
                        "instep_parked_event e WHERE e.subscription = k.subscription AND "
                        "e.key = k.key AND e.skipped_us IS NULL ORDER BY e.number LIMIT 1) FROM "
                        "instep_parked_key k "
                        "WHERE k.subscription = $1 AND k.dead_us IS NULL AND k.next_try_us <= $2 "
                        "AND EXISTS (SELECT 1 FROM instep_parked_event e "
                        "  WHERE e.subscription = k.subscription AND e.key = k.key "
                        "    AND e.skipped_us IS NULL AND e.partition IN ({})) "
                        "ORDER BY k.next_try_us LIMIT $3",
                        held),
            std::initializer_list<ValueView>{std::string_view(subscription_), micros(now),
                                             kDueKeysMax}));
    std::vector<DueKey> keys;
    next_due_.reset();
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            break;
        }
        if (!next_due_) {
            // There may be more than these, and not all of these may be tried now.
            next_due_ = time_of(rows->integer(1));
        }
        keys.push_back({std::string(rows->text(0)), static_cast<std::uint32_t>(rows->integer(2))});
    }
    rows.reset();
    if (keys.empty()) {
        INSTEP_TRY_ASSIGN(next_due_, find_next_due(connection, now));
    }
    return keys;
}

Result<std::optional<Timestamp>> Parking::find_next_due(Connection& connection, Timestamp now) {
    INSTEP_TRY_ASSIGN(
        const auto rows,
        connection.query(
            "SELECT min(next_try_us) FROM instep_parked_key "
            "WHERE subscription = $1 AND dead_us IS NULL AND next_try_us > $2",
            std::initializer_list<ValueView>{std::string_view(subscription_), micros(now)}));
    INSTEP_TRY(rows->next());
    return rows->is_null(0) ? std::nullopt : std::optional(time_of(rows->integer(0)));
}

Result<std::vector<WaitingKey>> Parking::waiting(Transaction& transaction,
                                                 std::span<const DueKey> keys,
                                                 std::int64_t events_max) {
    std::vector<WaitingKey> found;
    std::vector<ValueView> names;
    found.reserve(keys.size());
    names.reserve(2 * keys.size());
    for (const DueKey& due : keys) {
        found.push_back({.key = due.key, .events = {}});
        names.insert(names.end(), {std::string_view(subscription_), std::string_view(due.key)});
    }
    if (keys.size() > 1 && transaction.dialect().binds_arrays()) {
        INSTEP_TRY_ASSIGN(
            const auto rows,
            transaction.query_bulk(fmt::format(kWaitingOfMany, events_max), {2, names}));
        INSTEP_TRY(read_waiting(*rows, found));
    } else {
        for (const DueKey& due : keys) {
            INSTEP_TRY_ASSIGN(
                const auto rows,
                transaction.query(kWaitingOfOne, {std::string_view(subscription_),
                                                  std::string_view(due.key), events_max}));
            INSTEP_TRY(read_waiting(*rows, found));
        }
    }
    std::erase_if(found, [](const WaitingKey& key) { return key.events.empty(); });
    return found;
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
    changes_.clear();
    added_.clear();
    removed_.clear();
    skipped_.change = 0;
    bytes_.change = 0;
}

}  // namespace instep
