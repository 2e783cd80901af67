#include "instep/lease/lease.hpp"
#include "instep/log/log.hpp"
#include "instep/service/service.hpp"
#include "subscriptions.hpp"

#include <algorithm>

namespace instep {

namespace {

constexpr std::uint32_t kParkedShownMax = 1000;
constexpr std::uint32_t kScansShownMax = 100;

Result<std::optional<std::string>> relay_owner(Connection& connection) {
    INSTEP_TRY_ASSIGN(const auto leases, list_leases(connection));
    INSTEP_TRY_ASSIGN(const Timestamp now, connection.now());
    const auto held = std::ranges::find_if(leases, [&](const LeaseRow& lease) {
        return lease.name.starts_with("relay/") && lease.until > now;
    });
    return held == leases.end() ? std::nullopt : std::optional<std::string>(held->owner);
}

}  // namespace

Result<ServiceStatus> read_status(const ServiceConfig& config, const Clock& clock,
                                  Brokers& brokers) {
    INSTEP_TRY_ASSIGN(const auto database, open_database(config.database, clock));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    INSTEP_TRY(log_identity(*connection));
    INSTEP_TRY_ASSIGN(Broker* const broker, brokers.open(config.broker));
    ServiceStatus status;
    status.service = config.name;
    INSTEP_TRY_ASSIGN(status.log_lag, log_lag(*connection, "relay"));
    INSTEP_TRY_ASSIGN(status.subscriptions, broker->lag(""));
    // Those of the service, and those of others that read its topics.
    std::erase_if(status.subscriptions, [&](const SubscriptionLag& lag) {
        return !lag.topic.starts_with(config.name + ".") && !is_own_subscription(config, lag);
    });
    INSTEP_TRY_ASSIGN(status.progress, list_progress(*connection));
    INSTEP_TRY_ASSIGN(status.replicas, list_replicas(*connection));
    INSTEP_TRY_ASSIGN(status.parked, list_parked_keys(*connection, "", kParkedShownMax));
    INSTEP_TRY_ASSIGN(status.scans, list_scans(*connection, kScansShownMax));
    INSTEP_TRY_ASSIGN(status.relay_owner, relay_owner(*connection));
    return status;
}

}  // namespace instep
