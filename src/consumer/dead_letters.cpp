#include "instep/consumer/dead_letters.hpp"

#include "inbox.hpp"
#include "instep/event/cloudevents.hpp"
#include "instep/event/json_value.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

/// Parameters $1 to $4 choose keys of `k`.
constexpr std::string_view kChosen =
    "($1 = '' OR k.subscription = $1) AND ($2 = '' OR k.key = $2) AND ($3 = '' OR "
    "k.error_message LIKE $3 ESCAPE '!') AND ($4 = 1 OR k.dead_us IS NOT NULL)";

/// The same of skipped events `e`; $4 is not asked.
constexpr std::string_view kSkippedChosen =
    "e.skipped_us IS NOT NULL AND ($1 = '' OR e.subscription = $1) AND ($2 = '' OR e.key = $2) AND "
    "($3 = '' OR e.error_message LIKE $3 ESCAPE '!')";

/// A pattern for LIKE that finds the text anywhere.
std::string anywhere(std::string_view text) {
    if (text.empty()) {
        return {};
    }
    std::string pattern = "%";
    for (const char c : text) {
        if (c == '%' || c == '_' || c == '!') {
            pattern += '!';
        }
        pattern += c;
    }
    return pattern + '%';
}

Timestamp time_of(std::int64_t micros) { return Timestamp{std::chrono::microseconds{micros}}; }
std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

template <class Row>
Result<void> for_each(Cursor& rows, const Row& row) {
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows.next());
        if (!more) {
            return {};
        }
        row();
    }
}

struct KeyName {
    std::string subscription;
    std::string key;
};

Result<std::vector<KeyName>> chosen_keys(Transaction& transaction, const DeadLetterFilter& filter) {
    const std::string pattern = anywhere(filter.error);
    INSTEP_TRY_ASSIGN(
        auto rows, transaction.query(
                       fmt::format("SELECT k.subscription, k.key FROM instep_parked_key k WHERE {} "
                                   "ORDER BY k.subscription, k.key",
                                   kChosen),
                       {std::string_view(filter.subscription), std::string_view(filter.key),
                        std::string_view(pattern), std::int64_t{filter.with_retried ? 1 : 0}}));
    std::vector<KeyName> keys;
    INSTEP_TRY(for_each(
        *rows, [&] { keys.push_back({std::string(rows->text(0)), std::string(rows->text(1))}); }));
    return keys;
}

struct SkippedEvent {
    std::int64_t number = 0;
    KeyName name;
};

Result<std::vector<SkippedEvent>> chosen_skipped(Transaction& transaction,
                                                 const DeadLetterFilter& filter) {
    const std::string pattern = anywhere(filter.error);
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query(
            fmt::format("SELECT e.number, e.subscription, e.key FROM instep_parked_event e "
                        "WHERE {} ORDER BY e.number",
                        kSkippedChosen),
            {std::string_view(filter.subscription), std::string_view(filter.key),
             std::string_view(pattern)}));
    std::vector<SkippedEvent> events;
    INSTEP_TRY(for_each(*rows, [&] {
        events.push_back(
            {rows->integer(0), {std::string(rows->text(1)), std::string(rows->text(2))}});
    }));
    return events;
}

/// `event`: the number of one, or nothing for an action on a key.
Result<void> record(Transaction& transaction, std::string_view action, const Operator& by,
                    const KeyName& key, std::optional<std::int64_t> event, Timestamp now) {
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_dead_letter_action (acted_us, who, action, reason, subscription, key, "
        "event_number, envelope, raw) VALUES ($1, $2, $3, $4, $5, $6, $7, "
        "(SELECT envelope FROM instep_parked_event WHERE number = $7), "
        "(SELECT raw FROM instep_parked_event WHERE number = $7))",
        {micros(now), std::string_view(by.who), action, std::string_view(by.reason),
         std::string_view(key.subscription), std::string_view(key.key),
         event ? ValueView{*event} : ValueView{kNull}}));
    return {};
}

/// Records it, and sees to it that a copy which waits too, or which the broker brings again, takes
/// no effect either.
Result<void> give_up(Transaction& transaction, const Operator& by, const KeyName& key,
                     std::int64_t number, Timestamp now) {
    INSTEP_TRY(record(transaction, "discard", by, key, number, now));
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query("SELECT envelope FROM instep_parked_event WHERE number = $1", {number}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    const auto event = found && !rows->is_null(0)
                           ? from_json(rows->text(0))
                           : fail(ErrorCode::kNotFound, "the message is no event");
    rows.reset();
    if (event) {
        INSTEP_TRY(remember_handled(transaction, key.subscription, *event, now));
    }
    return {};
}

Result<void> revive(Transaction& transaction, const KeyName& key, Timestamp now) {
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_parked_key SET dead_us = NULL, attempts = 0, next_try_us = $3 "
        "WHERE subscription = $1 AND key = $2",
        {std::string_view(key.subscription), std::string_view(key.key), micros(now)}));
    return {};
}

/// Consumers that run read anew what is parked.
Result<void> revise(Transaction& transaction, std::string_view subscription) {
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_subscription AS s (subscription, revision) VALUES ($1, 1) "
        "ON CONFLICT (subscription) DO UPDATE SET revision = s.revision + 1",
        {subscription}));
    return {};
}

/// A skipped event waits again, and its key with it, which goes on unless it is parked.
Result<void> park_again(Transaction& transaction, const SkippedEvent& event, Timestamp now) {
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_parked_key (subscription, key, attempts, next_try_us, error_code, "
        "error_message, parked_us, failed_us) SELECT subscription, key, 0, $2, error_code, "
        "error_message, parked_us, skipped_us FROM instep_parked_event WHERE number = $1 "
        "ON CONFLICT (subscription, key) DO NOTHING",
        {event.number, micros(now)}));
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_parked_event SET skipped_us = NULL WHERE number = $1", {event.number}));
    return revise(transaction, event.name.subscription);
}

Result<void> list_skipped(Connection& connection, const DeadLetterFilter& filter,
                          std::uint32_t count, std::vector<ParkedKey>& keys) {
    const std::string pattern = anywhere(filter.error);
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query(
            fmt::format("SELECT e.subscription, e.key, e.attempts, e.parked_us, e.error_code, "
                        "e.error_message, e.skipped_us FROM instep_parked_event e WHERE {} "
                        "ORDER BY e.skipped_us, e.number LIMIT $4",
                        kSkippedChosen),
            std::initializer_list<ValueView>{std::string_view(filter.subscription),
                                             std::string_view(filter.key),
                                             std::string_view(pattern), std::int64_t{count}}));
    return for_each(*rows, [&] {
        ParkedKey& key = keys.emplace_back();
        key.subscription = rows->text(0);
        key.key = rows->text(1);
        key.attempts = static_cast<std::uint32_t>(rows->integer(2));
        key.events = 1;
        key.parked = time_of(rows->integer(3));
        key.error_code = rows->text(4);
        key.error_message = rows->text(5);
        key.failed = time_of(rows->integer(6));
        key.skipped = key.failed;
    });
}

Result<std::vector<std::int64_t>> waiting_numbers(Transaction& transaction, const KeyName& key,
                                                  DiscardScope scope) {
    INSTEP_TRY_ASSIGN(
        auto rows, transaction.query(
                       fmt::format("SELECT number FROM instep_parked_event WHERE subscription = $1 "
                                   "AND key = $2 AND discarded_us IS NULL AND skipped_us IS NULL "
                                   "ORDER BY number{}",
                                   scope == DiscardScope::kOldestEvent ? " LIMIT 1" : ""),
                       {std::string_view(key.subscription), std::string_view(key.key)}));
    std::vector<std::int64_t> numbers;
    INSTEP_TRY(for_each(*rows, [&] { numbers.push_back(rows->integer(0)); }));
    return numbers;
}

Result<std::string> edited(const std::string& envelope, std::string_view data) {
    INSTEP_TRY_ASSIGN(Event event, from_json(envelope));
    if (event.content_type == "application/json") {
        if (const auto json = JsonDocument::parse(data); !json) {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("the new payload is {}", json.error().message));
        }
    }
    event.data = data;
    INSTEP_TRY(validate(event));
    return to_json(event);
}

}  // namespace

Result<std::vector<ParkedKey>> list_dead_letters(Connection& connection,
                                                 const DeadLetterFilter& filter,
                                                 std::uint32_t count) {
    const std::string pattern = anywhere(filter.error);
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query(
            fmt::format("SELECT k.subscription, k.key, k.attempts, k.parked_us, k.next_try_us, "
                        "k.error_code, k.error_message, (SELECT count(*) FROM instep_parked_event "
                        "  e WHERE e.subscription = k.subscription AND e.key = k.key AND "
                        "  e.skipped_us IS NULL), "
                        "k.failed_us, k.dead_us FROM instep_parked_key k WHERE {} "
                        "ORDER BY k.dead_us, k.parked_us, k.key LIMIT $5",
                        kChosen),
            std::initializer_list<ValueView>{
                std::string_view(filter.subscription), std::string_view(filter.key),
                std::string_view(pattern), std::int64_t{filter.with_retried ? 1 : 0},
                std::int64_t{count}}));
    std::vector<ParkedKey> keys;
    INSTEP_TRY(for_each(*rows, [&] {
        ParkedKey& key = keys.emplace_back();
        key.subscription = rows->text(0);
        key.key = rows->text(1);
        key.attempts = static_cast<std::uint32_t>(rows->integer(2));
        key.parked = time_of(rows->integer(3));
        key.next_try = time_of(rows->integer(4));
        key.error_code = rows->text(5);
        key.error_message = rows->text(6);
        key.events = static_cast<std::uint64_t>(rows->integer(7));
        key.failed = time_of(rows->integer(8));
        if (!rows->is_null(9)) {
            key.dead = time_of(rows->integer(9));
        }
    }));
    INSTEP_TRY(list_skipped(connection, filter, count, keys));
    return keys;
}

Result<std::vector<ParkedKey>> list_parked_keys(Connection& connection,
                                                std::string_view subscription,
                                                std::uint32_t count) {
    return list_dead_letters(
        connection, {.subscription = std::string(subscription), .with_retried = true}, count);
}

Result<std::vector<WaitingEvent>> list_waiting_events(Connection& connection,
                                                      std::string_view subscription,
                                                      std::string_view key, std::uint32_t count) {
    INSTEP_TRY_ASSIGN(
        auto rows, connection.query(
                       "SELECT number, partition, position, parked_us, envelope, raw, "
                       "discarded_us, skipped_us FROM instep_parked_event WHERE subscription = $1 "
                       "AND key = $2 ORDER BY number LIMIT $3",
                       std::initializer_list<ValueView>{subscription, key, std::int64_t{count}}));
    std::vector<WaitingEvent> events;
    INSTEP_TRY(for_each(*rows, [&] {
        WaitingEvent& event = events.emplace_back();
        event.number = rows->integer(0);
        event.partition = static_cast<std::uint32_t>(rows->integer(1));
        event.position = static_cast<Position>(rows->integer(2));
        event.parked = time_of(rows->integer(3));
        event.envelope = rows->text(4);
        event.raw = rows->blob(5);
        event.is_discarded = !rows->is_null(6);
        event.is_skipped = !rows->is_null(7);
    }));
    return events;
}

Result<std::uint64_t> retry_dead_letters(Transaction& transaction, const DeadLetterFilter& filter,
                                         const Operator& by) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    INSTEP_TRY_ASSIGN(const auto keys, chosen_keys(transaction, filter));
    for (const KeyName& key : keys) {
        INSTEP_TRY(record(transaction, "retry", by, key, std::nullopt, now));
        INSTEP_TRY(revive(transaction, key, now));
    }
    INSTEP_TRY_ASSIGN(const auto skipped, chosen_skipped(transaction, filter));
    for (const SkippedEvent& event : skipped) {
        INSTEP_TRY(record(transaction, "retry", by, event.name, event.number, now));
        INSTEP_TRY(park_again(transaction, event, now));
    }
    return keys.size() + skipped.size();
}

Result<std::uint64_t> discard_dead_letters(Transaction& transaction, const DeadLetterFilter& filter,
                                           DiscardScope scope, const Operator& by) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    INSTEP_TRY_ASSIGN(const auto keys, chosen_keys(transaction, filter));
    std::uint64_t discarded = 0;
    for (const KeyName& key : keys) {
        INSTEP_TRY_ASSIGN(const auto numbers, waiting_numbers(transaction, key, scope));
        for (const std::int64_t number : numbers) {
            INSTEP_TRY(give_up(transaction, by, key, number, now));
            INSTEP_TRY(transaction.execute(
                "UPDATE instep_parked_event SET discarded_us = $2 WHERE number = $1",
                {number, micros(now)}));
            ++discarded;
        }
        INSTEP_TRY(revive(transaction, key, now));
    }
    INSTEP_TRY_ASSIGN(const auto skipped, chosen_skipped(transaction, filter));
    for (const SkippedEvent& event : skipped) {
        INSTEP_TRY(give_up(transaction, by, event.name, event.number, now));
        INSTEP_TRY(transaction.execute("DELETE FROM instep_parked_event WHERE number = $1",
                                       {event.number}));
        INSTEP_TRY(revise(transaction, event.name.subscription));
    }
    return discarded + skipped.size();
}

Result<void> edit_dead_letter(Transaction& transaction, std::int64_t number, std::string_view data,
                              const Operator& by) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    INSTEP_TRY_ASSIGN(auto rows, transaction.query("SELECT subscription, key, envelope, "
                                                   "skipped_us FROM instep_parked_event "
                                                   "WHERE number = $1",
                                                   {number}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return fail(ErrorCode::kNotFound, fmt::format("no event with number {} waits", number));
    }
    const KeyName key{std::string(rows->text(0)), std::string(rows->text(1))};
    if (rows->is_null(2)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("number {} is no event and has no payload; discard it", number));
    }
    const bool was_skipped = !rows->is_null(3);
    INSTEP_TRY_ASSIGN(const std::string envelope, edited(std::string(rows->text(2)), data));
    rows.reset();
    INSTEP_TRY(record(transaction, "edit", by, key, number, now));
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_parked_event SET envelope = $2, bytes = $3 WHERE number = $1",
        {number, std::string_view(envelope), static_cast<std::int64_t>(envelope.size())}));
    return was_skipped ? park_again(transaction, {number, key}, now)
                       : revive(transaction, key, now);
}

Result<std::vector<DeadLetterAction>> list_dead_letter_actions(Connection& connection,
                                                               std::uint32_t count) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query("SELECT acted_us, who, action, reason, subscription, key, envelope "
                         "FROM instep_dead_letter_action ORDER BY number DESC LIMIT $1",
                         std::initializer_list<ValueView>{std::int64_t{count}}));
    std::vector<DeadLetterAction> actions;
    INSTEP_TRY(for_each(*rows, [&] {
        actions.push_back({time_of(rows->integer(0)), std::string(rows->text(1)),
                           std::string(rows->text(2)), std::string(rows->text(3)),
                           std::string(rows->text(4)), std::string(rows->text(5)),
                           std::string(rows->text(6))});
    }));
    return actions;
}

}  // namespace instep
