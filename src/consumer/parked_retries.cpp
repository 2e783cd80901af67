#include "parked_retries.hpp"

#include "instep/telemetry/logger.hpp"

#include <algorithm>
#include <chrono>
#include <tuple>

namespace instep {

namespace {

/// Of each key, where several are tried at once, so that all of them fit into memory.
constexpr std::int64_t kEventsOfManyMax = 16;

/// New events wait, and other writers of the database, while parked keys are tried.
constexpr std::chrono::milliseconds kTryTimeMax{20};

}  // namespace

Result<std::vector<DueKey>> ParkedRetries::due() {
    if (work_.parking.empty()) {
        return std::vector<DueKey>{};
    }
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    return work_.parking.due(*work_.connection, now, work_.held.partitions());
}

Result<std::uint64_t> ParkedRetries::run(std::span<const DueKey> keys, std::int64_t events_max) {
    if (keys.empty()) {
        return 0;
    }
    if (!work_.caution.is_alone()) {
        return run_together(keys,
                            keys.size() > 1 ? std::min(events_max, kEventsOfManyMax) : events_max);
    }
    std::uint64_t applied = 0;
    for (const DueKey& due : keys) {
        INSTEP_TRY_ASSIGN(const std::uint64_t applied_of_key, run_alone(due));
        applied += applied_of_key;
    }
    return applied;
}

/// In one transaction. What is no event's fault ends it, but what was done before is kept: the
/// target of one key may be down for long, and those of others not.
Result<std::uint64_t> ParkedRetries::run_together(std::span<const DueKey> keys,
                                                  std::int64_t events_max) {
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    INSTEP_TRY_ASSIGN(const auto waiting, work_.parking.waiting(transaction, keys, events_max));
    Course course{Attempts(work_, transaction), now};
    Result<void> tried;
    for (const WaitingKey& key : waiting) {
        tried = try_key(transaction, course, key, events_max);
        if (!tried) {
            break;
        }
        ++course.keys;
        INSTEP_TRY_ASSIGN(const Timestamp reached, work_.connection->now());
        if (reached - now >= kTryTimeMax) {
            break;
        }
    }
    if (course.keys > 0) {
        INSTEP_TRY(finish(transaction, course));
    }
    INSTEP_TRY(tried);
    return course.events;
}

/// All that waits for the key at once; or, if something of it fails, its oldest event alone,
/// so that what succeeds takes effect and attempts are counted for what fails. Where a later event
/// would take the place of the one that fails, it may stand behind the first few.
Result<void> ParkedRetries::try_key(Transaction& transaction, Course& course, const WaitingKey& key,
                                    std::int64_t events_max) {
    const auto is_refused = [](const Result<ApplyCounts>& outcome) {
        return !outcome && blames_event(outcome.error().code);
    };
    work_.instruments.retried();
    work_.handler.begin_attempt(key.attempts + 1);
    std::span<const ParkedEvent> tried = key.events;
    auto applied = apply(course.attempts, tried);
    std::vector<WaitingKey> whole;
    const bool is_cut =
        std::ssize(tried) == events_max && events_max > 1 && events_max < kEventsATryMax;
    if (is_refused(applied) && is_cut && work_.handler.carries_state()) {
        const DueKey same{key.key, 0};
        INSTEP_TRY_ASSIGN(whole,
                          work_.parking.waiting(transaction, std::span(&same, 1), kEventsATryMax));
        tried = whole.front().events;
        applied = apply(course.attempts, tried);
    }
    if (is_refused(applied) && tried.size() > 1) {
        tried = tried.first(1);
        applied = apply(course.attempts, tried);
    }
    work_.handler.begin_attempt(1);
    if (applied) {
        course.counts += *applied;
        course.events += tried.size() - static_cast<std::size_t>(std::ranges::count_if(
                                            tried, &ParkedEvent::is_discarded));
        course.released.push_back(key.key);
        work_.parking.release(key.key, tried);
        return {};
    }
    if (!is_refused(applied)) {
        return std::unexpected(std::move(applied).error());
    }
    KeyFailure failure = work_.failure_of(std::move(applied).error());
    failure.attempts = key.attempts;
    work_.fail_key(key.key, failure, course.now);
    return {};
}

Result<ApplyCounts> ParkedRetries::apply(Attempts& attempts, std::span<const ParkedEvent> parked) {
    work_.refusal.reset();
    std::vector<const Event*> events;
    ApplyCounts counts;
    for (const ParkedEvent& next : parked) {
        if (next.is_discarded) {
            ++counts.discarded;
            continue;
        }
        if (next.malformed) {
            return std::unexpected(*next.malformed);
        }
        events.push_back(&next.event);
    }
    INSTEP_TRY_ASSIGN(const ApplyCounts applied, attempts.apply(events));
    counts += applied;
    return counts;
}

Result<void> ParkedRetries::finish(Transaction& transaction, const Course& course) {
    Positions reached;
    if (!course.released.empty()) {
        const std::uint32_t partition = work_.held.first();
        reached[partition].partition = partition;
    }
    INSTEP_TRY(work_.commit(transaction, course.counts, reached, course.now));
    for (const std::string_view key : course.released) {
        if (!work_.parking.holds(key)) {
            work_.logger.info("consumer.key_released",
                              {{"subscription", work_.options.subscription}, {"key", key}});
        }
    }
    return {};
}

Result<std::uint64_t> ParkedRetries::run_alone(const DueKey& due) {
    INSTEP_TRY_ASSIGN(Transaction look,
                      Transaction::begin(*work_.connection, TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(const auto waiting, work_.parking.waiting(look, std::span(&due, 1), 1));
    INSTEP_TRY(look.commit());
    if (!waiting.empty()) {
        const WaitingKey& key = waiting.front();
        const ParkedEvent& oldest = key.events.front();
        if (!oldest.is_discarded && !oldest.malformed) {
            INSTEP_TRY_ASSIGN(const auto failure, work_.begin_alone(due.partition, oldest.event));
            if (failure) {
                INSTEP_TRY(give_up(key, *failure));
                return 0;
            }
        }
    }
    auto applied = run_together(std::span(&due, 1), 1);
    if (!applied) {
        // It came back, so it ends no process; should the note stay, that is too careful only.
        std::ignore = work_.caution.withdraw_event();
    }
    return applied;
}

Result<void> ParkedRetries::give_up(const WaitingKey& key, KeyFailure failure) {
    failure.attempts = key.attempts;
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    work_.instruments.retried();
    work_.fail_key(key.key, failure, now);
    return work_.commit(transaction, {}, {}, now);
}

}  // namespace instep
