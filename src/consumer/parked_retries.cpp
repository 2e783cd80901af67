#include "parked_retries.hpp"

#include "instep/telemetry/logger.hpp"

#include <tuple>

namespace instep {

Result<std::vector<DueKey>> ParkedRetries::due() {
    if (work_.parking.empty()) {
        return std::vector<DueKey>{};
    }
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    return work_.parking.due(*work_.connection, now, work_.held.partitions());
}

Result<std::uint64_t> ParkedRetries::run(std::span<const DueKey> keys, std::int64_t events_max) {
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    std::uint64_t retried = 0;
    for (const DueKey& due : keys) {
        work_.instruments.retried();
        work_.handler.begin_attempt(due.attempts + 1);
        const auto applied_of_key =
            work_.caution.is_alone() ? retry_alone(due, now) : retry(due, events_max, now);
        work_.handler.begin_attempt(1);
        INSTEP_TRY_ASSIGN(const std::uint64_t applied, applied_of_key);
        retried += applied;
    }
    return retried;
}

/// All that waits for the key at once; or, if something of it fails, its oldest event alone,
/// so that what succeeds takes effect and attempts are counted for what fails.
Result<std::uint64_t> ParkedRetries::retry(const DueKey& due, std::int64_t events_max,
                                           Timestamp now) {
    auto applied = apply(due.key, now, events_max);
    if (!applied && blames_event(applied.error().code) && events_max > 1) {
        work_.parking.forgotten();
        applied = apply(due.key, now, 1);
    }
    if (applied || !blames_event(applied.error().code)) {
        return applied;
    }
    work_.parking.forgotten();
    INSTEP_TRY(fail_key(due.key, work_.failure_of(applied.error()), now));
    return 0;
}

Result<std::uint64_t> ParkedRetries::retry_alone(const DueKey& due, Timestamp now) {
    INSTEP_TRY_ASSIGN(Transaction look,
                      Transaction::begin(*work_.connection, TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(const auto oldest, work_.parking.events(look, due.key, 1));
    INSTEP_TRY(look.commit());
    if (!oldest.empty() && !oldest[0].is_discarded && !oldest[0].malformed) {
        INSTEP_TRY_ASSIGN(const auto failure, work_.begin_alone(due.partition, oldest[0].event));
        if (failure) {
            INSTEP_TRY(fail_key(due.key, *failure, now));
            return 0;
        }
    }
    auto applied = apply(due.key, now, 1);
    if (!applied && blames_event(applied.error().code)) {
        work_.parking.forgotten();
        INSTEP_TRY(fail_key(due.key, work_.failure_of(applied.error()), now));
        return 0;
    }
    if (!applied) {
        // It came back, so it ends no process; should the note stay, that is too careful only.
        std::ignore = work_.caution.withdraw_event();
    }
    return applied;
}

Result<void> ParkedRetries::fail_key(const std::string& key, const KeyFailure& failure,
                                     Timestamp now) {
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    INSTEP_TRY(work_.fail_key(transaction, key, failure, now));
    return work_.commit(transaction, {}, {}, now);
}

Result<std::uint64_t> ParkedRetries::apply(const std::string& key, Timestamp now,
                                           std::int64_t events_max) {
    INSTEP_TRY_ASSIGN(Transaction transaction, work_.begin());
    INSTEP_TRY_ASSIGN(const auto parked, work_.parking.events(transaction, key, events_max));
    work_.refusal.reset();
    std::vector<const Event*> events;
    for (const ParkedEvent& next : parked) {
        if (next.is_discarded) {
            continue;
        }
        if (next.malformed) {
            return std::unexpected(*next.malformed);
        }
        events.push_back(&next.event);
    }
    if (!parked.empty()) {
        INSTEP_TRY_ASSIGN(ApplyCounts counts, work_.handle(transaction, events));
        counts.discarded += parked.size() - events.size();
        INSTEP_TRY(work_.parking.release(transaction, key, parked.back().number));
        const std::uint32_t partition = work_.held.first();
        INSTEP_TRY(work_.commit(transaction, counts, {{partition, {.partition = partition}}}, now));
    }
    if (!work_.parking.holds(key)) {
        work_.logger.info("consumer.key_released",
                          {{"subscription", work_.options.subscription}, {"key", key}});
    }
    return events.size();
}

}  // namespace instep
