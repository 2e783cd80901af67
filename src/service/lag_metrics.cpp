#include "lag_metrics.hpp"

#include <algorithm>
#include <limits>

namespace instep {

void LagMetrics::saw_log(const LogLag& lag) {
    telemetry_.metrics
        .gauge("instep_relay_lag_events", "Events in the log that are not published yet",
               {{"service", telemetry_.service}})
        .set(static_cast<double>(lag.events));
    backlogs_.lock()->insert_or_assign("", Backlog{lag.events, lag.oldest});
}

void LagMetrics::saw_subscriptions(std::span<const SubscriptionLag> lags) {
    std::map<std::string, Backlog> seen;
    for (const SubscriptionLag& lag : lags) {
        Backlog& backlog = seen[lag.subscription];
        backlog.events += lag.events;
        if (lag.oldest) {
            backlog.oldest = std::min(backlog.oldest.value_or(*lag.oldest), *lag.oldest);
        }
    }
    for (const auto& [subscription, backlog] : seen) {
        telemetry_.metrics
            .gauge("instep_lag_events", "Events published and not yet applied",
                   {{"service", telemetry_.service}, {"subscription", subscription}})
            .set(static_cast<double>(backlog.events));
        backlogs_.lock()->insert_or_assign(subscription, backlog);
    }
}

void LagMetrics::saw_parked(std::span<const ParkedCounts> counts) {
    std::map<std::string, ParkedCounts> parked;
    for (const auto& [subscription, backlog] : backlogs_.copy()) {
        if (!subscription.empty()) {
            parked.emplace(subscription, ParkedCounts{});
        }
    }
    for (const ParkedCounts& next : counts) {
        parked[next.subscription] = next;
    }
    for (const auto& [subscription, known] : parked) {
        telemetry_.metrics
            .gauge("instep_parked_keys", "Keys set aside after a failure, to be tried again",
                   {{"service", telemetry_.service}, {"subscription", subscription}})
            .set(static_cast<double>(known.retried));
        telemetry_.metrics
            .gauge("instep_dead_letters", "Keys that ran out of attempts and wait for a person",
                   {{"service", telemetry_.service}, {"subscription", subscription}})
            .set(static_cast<double>(known.dead));
    }
}

void LagMetrics::measure() {
    for (const auto& [subscription, backlog] : backlogs_.copy()) {
        set_age(subscription, backlog);
    }
}

void LagMetrics::set_age(const std::string& subscription, const Backlog& backlog) {
    double age = 0;
    if (backlog.events > 0) {
        age = backlog.oldest
                  ? std::max(std::chrono::duration<double>(telemetry_.clock.now() - *backlog.oldest)
                                 .count(),
                             0.0)
                  : std::numeric_limits<double>::quiet_NaN();
    }
    if (subscription.empty()) {
        telemetry_.metrics
            .gauge("instep_relay_lag_seconds", "Age of the oldest event that is not published yet",
                   {{"service", telemetry_.service}})
            .set(age);
        return;
    }
    telemetry_.metrics
        .gauge("instep_lag_seconds",
               "Age of the oldest event not yet applied; NaN where the broker cannot tell",
               {{"service", telemetry_.service}, {"subscription", subscription}})
        .set(age);
}

}  // namespace instep
