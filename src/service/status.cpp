#include "backend.hpp"
#include "broker_homes.hpp"
#include "direct.hpp"
#include "instep/db/dialect.hpp"
#include "instep/lease/lease.hpp"
#include "instep/log/log.hpp"
#include "instep/service/service.hpp"
#include "subscriptions.hpp"

#include <algorithm>
#include <set>
#include <span>

namespace instep {

namespace {

constexpr std::uint32_t kParkedShownMax = 1000;
constexpr std::uint32_t kScansShownMax = 100;
constexpr std::uint32_t kReplaysShownMax = 100;

Result<std::optional<std::string>> relay_owner(Connection& connection) {
    INSTEP_TRY_ASSIGN(const auto leases, list_leases(connection));
    INSTEP_TRY_ASSIGN(const Timestamp now, connection.now());
    const auto held = std::ranges::find_if(leases, [&](const LeaseRow& lease) {
        return lease.name.starts_with("relay/") && lease.until > now;
    });
    return held == leases.end() ? std::nullopt : std::optional<std::string>(held->owner);
}

/// On the way from one broker to another an event may wait on either.
Result<std::vector<SubscriptionLag>> read_lags(Connection& connection, const ServiceConfig& config,
                                               Brokers& brokers) {
    if (is_direct(config.broker)) {
        INSTEP_TRY_ASSIGN(Broker* const broker, brokers.open(config));
        return broker->lag("");
    }
    INSTEP_TRY_ASSIGN(const BrokerHomes homes, find_homes(connection, config));
    INSTEP_TRY_ASSIGN(Broker* const broker, brokers.open(homes.reads_from));
    INSTEP_TRY_ASSIGN(std::vector<SubscriptionLag> lags, broker->lag(""));
    if (homes.publishes_to == homes.reads_from) {
        return lags;
    }
    INSTEP_TRY_ASSIGN(Broker* const next, brokers.open(homes.publishes_to));
    INSTEP_TRY_ASSIGN(const std::vector<SubscriptionLag> behind, next->lag(""));
    for (const SubscriptionLag& more : behind) {
        const auto same = std::ranges::find_if(lags, [&](const SubscriptionLag& lag) {
            return lag.subscription == more.subscription && lag.topic == more.topic &&
                   lag.partition == more.partition;
        });
        if (same == lags.end()) {
            lags.push_back(more);
            continue;
        }
        same->events += more.events;
        if (more.oldest && (!same->oldest || *more.oldest < *same->oldest)) {
            same->oldest = more.oldest;
        }
    }
    return lags;
}

/// Without a broker subscriptions read the log, and their lag is all there is.
Result<std::vector<TopicLag>> read_topic_lags(Connection& connection, const ServiceConfig& config,
                                              std::span<const SubscriptionLag> subscriptions) {
    std::set<std::string> topics;
    for (const SubscriptionLag& lag : subscriptions) {
        if (!is_direct(config.broker) && lag.topic.starts_with(config.name + ".")) {
            topics.insert(lag.topic);
        }
    }
    std::vector<TopicLag> lags;
    for (const std::string& topic : topics) {
        INSTEP_TRY_ASSIGN(const LogLag lag, log_lag(connection, kRelayReader, topic));
        lags.push_back({topic, lag});
    }
    return lags;
}

}  // namespace

Result<std::uint64_t> mark_captured_end(const ServiceConfig& config, const Clock& clock) {
    if (config.capture != CaptureBy::kWal) {
        return 0;
    }
    INSTEP_TRY_ASSIGN(const auto database, open_database(config.database, clock));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    return mark_wal_end(*connection);
}

Result<ServiceStatus> read_status(const ServiceConfig& config, const Clock& clock,
                                  Brokers& brokers) {
    INSTEP_TRY_ASSIGN(const auto database, open_database(config.database, clock));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    INSTEP_TRY(log_identity(*connection));
    ServiceStatus status;
    status.service = config.name;
    INSTEP_TRY_ASSIGN(status.log_lag, log_lag(*connection, kRelayReader));
    // Before the broker's lag: what the slot's position says is published stands there.
    if (is_postgres(config.database)) {
        INSTEP_TRY_ASSIGN(status.wal_slot,
                          read_wal_slot(*connection, config.wal_budget_mib << 20U));
    }
    INSTEP_TRY_ASSIGN(status.subscriptions, read_lags(*connection, config, brokers));
    // Those of the service, and those of others that read its topics.
    std::erase_if(status.subscriptions, [&](const SubscriptionLag& lag) {
        return !lag.topic.starts_with(config.name + ".") && !is_own_subscription(config, lag);
    });
    INSTEP_TRY_ASSIGN(status.topics, read_topic_lags(*connection, config, status.subscriptions));
    INSTEP_TRY_ASSIGN(status.progress, list_progress(*connection));
    INSTEP_TRY_ASSIGN(status.replicas, list_replicas(*connection));
    INSTEP_TRY_ASSIGN(status.parked, list_parked_keys(*connection, "", kParkedShownMax));
    INSTEP_TRY_ASSIGN(status.replays, list_replays(*connection, "", kReplaysShownMax));
    INSTEP_TRY_ASSIGN(status.scans, list_scans(*connection, kScansShownMax));
    INSTEP_TRY_ASSIGN(status.halts, list_halts(*connection));
    INSTEP_TRY_ASSIGN(status.relay_owner, relay_owner(*connection));
    return status;
}

}  // namespace instep
