#include "upkeep.hpp"

#include "instep/log/log.hpp"
#include "instep/log/reader.hpp"
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

using TrimStep = Result<std::uint64_t> (*)(Transaction&, Timestamp, std::uint32_t);

/// Returns true if there is more to delete.
Result<bool> trim_in_steps(Connection& connection, TrimStep trim, Timestamp before) {
    for (int steps = 0; steps < kTrimStepsMax; ++steps) {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(connection, TransactionMode::kWrite));
        INSTEP_TRY_ASSIGN(const std::uint64_t rows, trim(transaction, before, kTrimRowsMax));
        INSTEP_TRY(transaction.commit());
        if (rows < kTrimRowsMax) {
            return false;
        }
    }
    return true;
}

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
    INSTEP_TRY_ASSIGN(const LogLag log, log_lag(*connection_, "relay"));
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
    INSTEP_TRY_ASSIGN(const bool more_log,
                      trim_in_steps(*connection_, &trim_log, now - config.log_retention));
    INSTEP_TRY_ASSIGN(const bool more_inbox, trim_in_steps(*connection_, &trim_inbox, remembered));
    INSTEP_TRY_ASSIGN(const bool more_tombstones,
                      trim_in_steps(*connection_, &trim_tombstones, remembered));
    INSTEP_TRY(duties_.broker.trim(now - config.broker_retention));
    return more_log || more_inbox || more_tombstones;
}

}  // namespace instep
