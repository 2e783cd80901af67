#include "replays.hpp"

#include "instep/telemetry/logger.hpp"
#include "replay_mark.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace instep {

namespace {

constexpr std::string_view kAttribute = "instepreplay";

/// A look costs a query, which a consumer that is busy has no time for after each batch.
constexpr int kCallsWithoutLook = 16;

std::int64_t number(std::uint64_t value) { return static_cast<std::int64_t>(value); }
std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

/// Errors after which it is no use to try again.
bool refuses(ErrorCode code) {
    return !is_retryable(code) && code != ErrorCode::kFenced && code != ErrorCode::kClosed;
}

}  // namespace

void remove_replay_mark(Event& event) {
    std::erase_if(event.extensions,
                  [](const auto& attribute) { return attribute.first == kAttribute; });
}

void mark_replayed(Event& event, std::uint64_t replay) {
    event.extensions.emplace_back(kAttribute, fmt::to_string(replay));
}

std::optional<std::uint64_t> replay_mark(const Event& event) {
    for (const auto& [name, text] : event.extensions) {
        if (name == kAttribute) {
            std::uint64_t replay = 0;
            std::from_chars(text.data(), text.data() + text.size(), replay);
            return replay;
        }
    }
    return std::nullopt;
}

bool Replays::is_due() noexcept {
    if (calls_until_look_ == 0) {
        return true;
    }
    --calls_until_look_;
    return false;
}

Result<void> Replays::take_up(Connection& connection, Subscriber& subscriber,
                              const CheckTurn& check, Places& places) {
    INSTEP_TRY_ASSIGN(const auto asked, load(connection, places));
    for (const Asked& next : asked) {
        if (!running_.contains(next.partition)) {
            INSTEP_TRY(begin(connection, check, next, places.at(next.partition)));
        }
    }
    for (auto& [partition, stands_at] : places) {
        INSTEP_TRY(resume(connection, subscriber, check, partition, stands_at));
    }
    calls_until_look_ = kCallsWithoutLook;
    return {};
}

Result<std::vector<Replays::Asked>> Replays::load(Connection& connection, const Places& places) {
    running_.clear();
    INSTEP_TRY_ASSIGN(
        const auto rows,
        connection.query("SELECT number, partition, state, start, start_at, key, reached, until, "
                         "broker FROM instep_replay WHERE subscription = $1 AND "
                         "state IN ('asked', 'running') ORDER BY number",
                         std::initializer_list<ValueView>{std::string_view(subscription_)}));
    std::vector<Asked> asked;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return asked;
        }
        const auto replay = static_cast<std::uint64_t>(rows->integer(0));
        const auto partition = static_cast<std::uint32_t>(rows->integer(1));
        if (!places.contains(partition)) {
            continue;
        }
        INSTEP_TRY_ASSIGN(const ReplayStart start,
                          ReplayStart::read(rows->text(3), rows->integer(4)));
        if (rows->text(2) == "asked") {
            asked.push_back({replay, partition, start, std::string(rows->text(5))});
            continue;
        }
        running_.insert_or_assign(
            partition, Running{replay, static_cast<Position>(rows->integer(6)),
                               static_cast<Position>(rows->integer(7)), std::string(rows->text(5)),
                               start, std::string(rows->text(8))});
    }
}

/// Written down before the broker is told: what it says afterwards of where the subscription
/// stands is no longer where the replay has to end.
Result<void> Replays::begin(Connection& connection, const CheckTurn& check, const Asked& asked,
                            Position stands_at) {
    const auto span = find_span(connection, asked, stands_at);
    if (!span) {
        return refuses(span.error().code) ? set_state(connection, check, asked.number, span.error())
                                          : std::unexpected(span.error());
    }
    const bool is_over = span->from >= span->until;
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY(check(transaction));
    INSTEP_TRY_ASSIGN(const Timestamp now, connection.now());
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_replay SET state = $2, broker = $3, reached = $4, until = $5, moved_us = $6 "
        "WHERE number = $1",
        {number(asked.number), std::string_view(is_over ? "done" : "running"),
         broker_.display_url(), number(span->from), number(span->until), micros(now)}));
    INSTEP_TRY(transaction.commit());
    logger_.info("consumer.replay_begun", {{"subscription", subscription_},
                                           {"partition", asked.partition},
                                           {"replay", asked.number},
                                           {"behind", span->from},
                                           {"until", span->until},
                                           {"key", asked.key}});
    if (!is_over) {
        running_.insert_or_assign(
            asked.partition, Running{asked.number, span->from, span->until, asked.key, asked.start,
                                     std::string(broker_.display_url())});
    }
    return {};
}

Result<Replays::Span> Replays::find_span(Connection& connection, const Asked& asked,
                                         Position stands_at) {
    INSTEP_TRY_ASSIGN(const auto all, broker_.kept(topic_));
    const auto kept = std::ranges::find(all, asked.partition, &KeptEvents::partition);
    if (kept == all.end()) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("topic {} has no partition {}", topic_, asked.partition));
    }
    INSTEP_TRY_ASSIGN(
        const auto parked,
        connection.query("SELECT key FROM instep_parked_event WHERE subscription = $1 AND "
                         "partition = $2 AND ($3 = '' OR key = $3) LIMIT 1",
                         std::initializer_list<ValueView>{std::string_view(subscription_),
                                                          std::int64_t{asked.partition},
                                                          std::string_view(asked.key)}));
    INSTEP_TRY_ASSIGN(const bool waits, parked->next());
    if (waits) {
        return fail(
            ErrorCode::kConflict,
            fmt::format("events of key {} are parked, and a replay would overtake them; see "
                        "`instep deadletters`",
                        parked->text(0)));
    }
    INSTEP_TRY_ASSIGN(const Position from, asked.start.find_in(*kept, topic_));
    // The last event before the end may have been deleted, and is not waited for.
    return Span{from, std::min(stands_at, std::max(from, kept->newest))};
}

/// What the database says has been reached is what counts: a broker may have lost that the
/// subscription went back, or have been told after a crash only.
Result<void> Replays::resume(Connection& connection, Subscriber& subscriber, const CheckTurn& check,
                             std::uint32_t partition, Position& stands_at) {
    const auto found = running_.find(partition);
    if (found == running_.end()) {
        return {};
    }
    const Running& running = found->second;
    if (running.broker != broker_.display_url()) {
        return finish(connection, check, found,
                      Error{ErrorCode::kConflict, "the service has another broker now"});
    }
    if (running.reached >= running.until && stands_at >= running.until) {
        INSTEP_TRY_ASSIGN(const bool is_over, is_stored(partition, running.until));
        return is_over ? finish(connection, check, found) : Result<void>{};
    }
    if (stands_at <= running.reached) {
        return {};
    }
    const auto moved = subscriber.rewind(partition, running.reached);
    if (!moved && refuses(moved.error().code)) {
        return finish(connection, check, found, moved.error());
    }
    INSTEP_TRY(moved);
    stands_at = running.reached;
    return {};
}

/// Whether the broker has stored what was acknowledged, which it may do a while later.
Result<bool> Replays::is_stored(std::uint32_t partition, Position position) {
    INSTEP_TRY_ASSIGN(const auto lags, broker_.lag(topic_));
    return std::ranges::none_of(lags, [&](const SubscriptionLag& lag) {
        return lag.subscription == subscription_ && lag.partition == partition &&
               lag.acknowledged < position;
    });
}

/// Only once the broker knows that all of it is done: until then what it brings again must be told
/// from what comes for the first time.
Result<void> Replays::finish(Connection& connection, const CheckTurn& check,
                             RunningReplays::iterator replay, const std::optional<Error>& problem) {
    const std::uint64_t finished = replay->second.number;
    INSTEP_TRY(set_state(connection, check, finished, problem));
    running_.erase(replay);
    return {};
}

Result<void> Replays::set_state(Connection& connection, const CheckTurn& check,
                                std::uint64_t replay, const std::optional<Error>& problem) {
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY(check(transaction));
    INSTEP_TRY_ASSIGN(const Timestamp now, connection.now());
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_replay SET state = $2, problem = $3, moved_us = $4 WHERE number = $1",
        {number(replay), std::string_view(problem ? "refused" : "done"),
         std::string_view(problem ? problem->message : ""), micros(now)}));
    INSTEP_TRY(transaction.commit());
    if (problem) {
        logger_.error(
            "consumer.replay_refused",
            {{"subscription", subscription_}, {"replay", replay}, {"error", problem->message}});
    } else {
        logger_.info("consumer.replay_done", {{"subscription", subscription_}, {"replay", replay}});
    }
    return {};
}

void Replays::mark(std::vector<Delivery>& deliveries) const {
    for (Delivery& delivery : deliveries) {
        remove_replay_mark(delivery.event);
        const auto found = running_.find(delivery.partition);
        if (found == running_.end() || delivery.position > found->second.until) {
            continue;
        }
        const Running& running = found->second;
        // A broker that lost acknowledgements brings what stands before the beginning, too.
        const bool is_chosen = (running.key.empty() || running.key == delivery.event.key) &&
                               running.start.reaches(delivery);
        mark_replayed(delivery.event, is_chosen ? running.number : 0);
        if (!is_chosen) {
            delivery.malformed.reset();
        }
    }
}

Result<void> Replays::move(Transaction& transaction, const Positions& reached,
                           Timestamp now) const {
    for (const auto& [partition, next] : reached) {
        const auto found = running_.find(partition);
        // What was parked takes effect without a move.
        if (found == running_.end() || next.position == 0) {
            continue;
        }
        // Behind its end a broker may have positions of another kind.
        const Position position = std::min(next.position, found->second.until);
        INSTEP_TRY(transaction.execute(
            "UPDATE instep_replay SET reached = $2, moved_us = $3 WHERE number = $1",
            {number(found->second.number), number(position), micros(now)}));
    }
    return {};
}

}  // namespace instep
