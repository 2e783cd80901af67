#include "upkeep.hpp"

#include "instep/consumer/replay.hpp"
#include "instep/log/log.hpp"
#include "instep/log/reader.hpp"
#include "instep/replica/scan.hpp"
#include "instep/replica/verification.hpp"
#include "subscriptions.hpp"

#include <algorithm>

namespace instep {

namespace {

using namespace std::chrono_literals;

constexpr auto kEvery = 5s;
constexpr auto kStalledAfter = 60s;

/// Rows deleted in one transaction, so that nobody waits long for the write lock, and
/// transactions in one round.
constexpr std::uint32_t kTrimRowsMax = 1000;
constexpr int kTrimStepsMax = 20;

constexpr Trimming kLog{"log", &trim_log};

/// What has to be remembered for as long as it may matter to an event that comes again.
constexpr Trimming kRemembered[] = {
    {"inbox", &trim_inbox}, {"tombstones", &trim_tombstones},       {"replays", &trim_replays},
    {"scans", &trim_scans}, {"verifications", &trim_verifications},
};

}  // namespace

UpkeepFlow::UpkeepFlow(UpkeepDuties duties, std::unique_ptr<Connection> connection,
                       const Clock& clock)
    : Flow("upkeep", {.alert_wait = 1s, .alert_for = 0ms, .idle_max = 1s}, clock),
      duties_(std::move(duties)),
      connection_(std::move(connection)),
      watch_(kStalledAfter),
      due_(clock.monotonic() + kEvery) {}

Result<std::uint64_t> UpkeepFlow::step() {
    INSTEP_TRY(duties_.look(*connection_));
    const auto now = clock().monotonic();
    if (now < due_) {
        return 0;
    }
    INSTEP_TRY_ASSIGN(std::vector<SubscriptionLag> own, duties_.broker.lag(""));
    std::erase_if(
        own, [&](const SubscriptionLag& lag) { return !is_own_subscription(duties_.config, lag); });
    INSTEP_TRY(judge(own));
    INSTEP_TRY_ASSIGN(const bool has_more, trim(own));
    due_ = has_more ? now : now + kEvery;
    return 0;
}

Result<void> UpkeepFlow::judge(const std::vector<SubscriptionLag>& own) {
    const auto now = clock().monotonic();
    INSTEP_TRY_ASSIGN(const LogLag log, log_lag(*connection_, kRelayReader));
    INSTEP_TRY_ASSIGN(const auto parked, count_parked(*connection_));
    duties_.lag.saw_log(log);
    duties_.lag.saw_subscriptions(own);
    duties_.lag.saw_parked(parked);
    Backlog to_relay{log.events, 0};
    if (log.oldest) {
        to_relay.mark = static_cast<std::uint64_t>(log.oldest->time_since_epoch().count());
    }
    for (const Flow* relay : duties_.relays) {
        to_relay.mark += relay->status().events;
    }
    const std::string stalled = watch_.look("relay", to_relay, now);
    for (Flow* relay : duties_.relays) {
        relay->set_stalled(stalled);
    }
    for (const auto& [subscription, flow] : duties_.consumers) {
        Backlog to_apply;
        for (const SubscriptionLag& lag : own) {
            if (lag.subscription == subscription) {
                to_apply.events += lag.events;
                to_apply.mark += lag.acknowledged;
            }
        }
        flow->set_stalled(watch_.look(subscription, to_apply, now));
    }
    return {};
}

Result<bool> UpkeepFlow::trim(const std::vector<SubscriptionLag>& own) {
    const ServiceConfig& config = duties_.config;
    const Timestamp now = clock().now();
    // What may still be delivered must be remembered, however long it has been waiting.
    Timestamp remembered = now;
    for (const SubscriptionLag& lag : own) {
        remembered = std::min(remembered, lag.oldest.value_or(now));
    }
    remembered -= config.memory_retention;
    INSTEP_TRY_ASSIGN(bool has_more, trim(kLog, now - config.log_retention));
    for (const Trimming& next : kRemembered) {
        INSTEP_TRY_ASSIGN(const bool more, trim(next, remembered));
        has_more = has_more || more;
    }
    INSTEP_TRY_ASSIGN(const std::uint64_t of_broker,
                      duties_.broker.trim(now - config.broker_retention));
    trimmed("broker").increment(of_broker);
    return has_more;
}

Result<bool> UpkeepFlow::trim(const Trimming& trimming, Timestamp before) {
    for (int steps = 0; steps < kTrimStepsMax; ++steps) {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection_, TransactionMode::kWrite));
        INSTEP_TRY_ASSIGN(const std::uint64_t rows,
                          trimming.step(transaction, before, kTrimRowsMax));
        INSTEP_TRY(transaction.commit());
        trimmed(trimming.what).increment(rows);
        if (rows < kTrimRowsMax) {
            return false;
        }
    }
    return true;
}

Counter& UpkeepFlow::trimmed(std::string_view what) const {
    return duties_.metrics.counter("instep_trimmed_total",
                                   "Rows or events deleted because they were old enough",
                                   {{"service", duties_.config.name}, {"what", std::string(what)}});
}

}  // namespace instep
