#include "workplace.hpp"

#include "instep/base/fail_point.hpp"
#include "instep/telemetry/logger.hpp"

#include <fmt/format.h>

#include <iterator>
#include <utility>

namespace instep {

Workplace::Workplace(ConsumerOptions of_consumer, std::unique_ptr<Connection> own_connection,
                     Broker& broker, Handler& of_events, Random& random, Logger& told)
    : options(std::move(of_consumer)),
      connection(std::move(own_connection)),
      handler(of_events),
      logger(told),
      instruments(options.telemetry, options.subscription, options.topic,
                  of_events.records_spans()),
      policies(options),
      parking(options.subscription, policies, random),
      held(options, *connection, logger),
      caution(options.subscription, options.batch_events_max, *connection),
      replays(options.subscription, options.topic, broker, logger) {}

Result<Transaction> Workplace::begin() {
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*connection, TransactionMode::kWrite));
    INSTEP_TRY(held.require(transaction));
    return transaction;
}

Result<void> Workplace::load_parking() {
    INSTEP_TRY(parking.load(*connection));
    instruments.parked(parking.bytes());
    return {};
}

Result<ApplyCounts> Workplace::handle(Transaction& transaction,
                                      std::span<const Event* const> events) {
    if (events.empty()) {
        return ApplyCounts{};
    }
    auto applied = handler.apply(transaction, events);
    refusal = applied ? std::nullopt : handler.refusal();
    if (!applied && applied.error().code == ErrorCode::kUnavailable) {
        target = Target::kDown;
    } else if (target == Target::kUnasked &&
               (!applied || applied->applied > 0 || applied->discarded > 0)) {
        target = Target::kAnswers;
    }
    return applied;
}

Result<void> Workplace::commit(Transaction& transaction, const ApplyCounts& counts,
                               const Positions& reached, Timestamp now) {
    INSTEP_TRY(caution.end_event(transaction));
    INSTEP_TRY(parking.write(transaction));
    if (parking.skipped() > 0) {
        INSTEP_TRY(add_progress(transaction, options.subscription, {.partition = held.first()},
                                {.discarded = parking.skipped()}, now));
    }
    ApplyCounts added = counts;
    for (auto next = reached.begin(); next != reached.end() && next != std::prev(reached.end());
         ++next) {
        INSTEP_TRY(add_progress(transaction, options.subscription, next->second,
                                std::exchange(added, {}), now));
    }
    INSTEP_TRY(replays.move(transaction, reached, now));
    INSTEP_FAIL_POINT("consumer.before_commit");
    INSTEP_TRY(reached.empty()
                   ? transaction.commit()
                   : add_progress(transaction, options.subscription, reached.rbegin()->second,
                                  added, now, AfterProgress::kCommit));
    parking.kept();
    instruments.parked(parking.bytes());
    caution.kept();
    instruments.committed(counts);
    INSTEP_FAIL_POINT("consumer.after_commit");
    return {};
}

KeyFailure Workplace::failure_of(Error error) {
    KeyFailure failure{std::move(error)};
    if (const auto said = std::exchange(refusal, std::nullopt)) {
        failure.error.code = said->error;
        failure.retry_after = said->retry_after;
    }
    return failure;
}

void Workplace::fail_key(std::string_view key, const KeyFailure& failure, Timestamp now) {
    instruments.failed();
    const FailedKey became = parking.fail_key(key, failure, now);
    if (became != FailedKey::kRetried) {
        logger.error(became == FailedKey::kDead ? "consumer.dead_letter" : "consumer.event_skipped",
                     {{"subscription", options.subscription},
                      {"key", key},
                      {"error", failure.error.message}});
    }
}

Result<std::optional<KeyFailure>> Workplace::begin_alone(std::uint32_t partition,
                                                         const Event& event) {
    INSTEP_TRY_ASSIGN(const std::uint32_t ends, caution.begin_event(partition, event));
    if (ends < options.crashes_max) {
        return std::nullopt;
    }
    const std::string problem = fmt::format(
        "event {} of {}: the process ended {} times while it tried this event alone; find out why "
        "in the system's log, then retry or discard it",
        event.id, event.type, ends);
    return KeyFailure{.error = {ErrorCode::kRejected, problem}, .is_final = true};
}

}  // namespace instep
