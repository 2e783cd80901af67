#include "health.hpp"

#include "output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace instep::cli {

namespace {

class Judge {
public:
    Judge(Timestamp now, std::chrono::milliseconds lag_max) : now_(now), lag_max_(lag_max) {}

    void add_service(const ObservedService& service) {
        add_relay(service);
        for (const SubscriptionLag& lag : service.status.subscriptions) {
            add_subscription(lag);
        }
        for (const ReplicaDefinition& replica : service.config.replicas) {
            ++replicas_;
            add_replica(service, replica);
        }
        for (const ReplayStatus& replay : service.status.replays) {
            add_replay(replay);
        }
        for (const ParkedKey& parked : service.status.parked) {
            FlowHealth& flow = flow_named(parked.subscription);
            if (parked.skipped) {
                ++skipped_events_[parked.subscription];
                continue;
            }
            flow.state = "parked";
            flow.unhealthy = true;
            ++parked_keys_[parked.subscription];
        }
        for (const SubscriptionHalt& halt : service.status.halts) {
            add_halt(halt);
        }
    }

    Health verdict() {
        for (const auto& [name, keys] : parked_keys_) {
            add_remark(flow_named(name), fmt::format("has {}", counted(keys, "parked key")));
        }
        for (const auto& [name, events] : skipped_events_) {
            add_remark(flow_named(name), fmt::format("has {}", counted(events, "skipped event")));
        }
        std::vector<std::string> remarks;
        for (const FlowHealth& flow : health_.flows) {
            const bool rests = flow.state == to_string(HaltKind::kPaused) && flow.lag_events == 0;
            health_.caught_up = health_.caught_up && (rests || flow.state == "caught up");
            health_.healthy = health_.healthy && !flow.unhealthy;
            if (!flow.remark.empty()) {
                remarks.push_back(fmt::format("{} {}", flow.name, flow.remark));
            }
        }
        health_.sentence = remarks.empty() ? all_is_well() : join(remarks);
        return std::move(health_);
    }

private:
    void add_relay(const ObservedService& service) {
        const ServiceStatus& status = service.status;
        FlowHealth& flow = flow_named("relay of " + status.service);
        add_lag(flow, status.log_lag.events, status.log_lag.oldest);
        const bool scans = std::ranges::any_of(
            status.scans, [](const ScanStatus& scan) { return scan.state == "open"; });
        if ((flow.lag_events > 0 || scans) && !status.relay_owner) {
            flow.state = "no holder";
            flow.unhealthy = true;
            add_remark(flow, "has no holder");
        }
        if (status.wal_slot) {
            add_slot(flow, *status.wal_slot);
        }
    }

    static void add_slot(FlowHealth& flow, const WalSlotStatus& slot) {
        if (slot.state == "lost" || slot.state == "missing") {
            flow.state = "behind";
            flow.unhealthy = true;
            add_remark(flow, fmt::format("finds slot {} {} and will fill replicas again", slot.name,
                                         slot.state));
        } else if (slot.alarm != WalAlarm::kNone) {
            flow.unhealthy = flow.unhealthy || slot.alarm != WalAlarm::kHalf;
            add_remark(flow, fmt::format("has spent {} % of its WAL budget",
                                         slot.retained_bytes * 100 / slot.budget_bytes));
        }
    }

    /// The owner of a topic and its reader both tell of the subscription.
    void add_subscription(const SubscriptionLag& lag) {
        if (seen_.emplace(lag.subscription, lag.topic, lag.partition).second) {
            add_lag(flow_named(lag.subscription), lag.events, lag.oldest);
        }
    }

    void add_replica(const ObservedService& service, const ReplicaDefinition& definition) {
        const auto& known = service.status.replicas;
        const auto found = std::ranges::find(known, definition.table, &ReplicaStatus::table);
        const ReplicaStatus status = found == known.end() ? ReplicaStatus{} : *found;
        FlowHealth& flow = flow_named(definition.subscription());
        if (status.state == ReplicaState::kLive) {
            return;
        }
        flow.state = to_string(status.state);
        flow.unhealthy = status.state == ReplicaState::kRefused;
        add_remark(flow,
                   status.state == ReplicaState::kFilling
                       ? fmt::format("is filling ({} so far)", counted(status.filled_rows, "row"))
                   : status.state == ReplicaState::kRefused
                       ? fmt::format("was refused by its owner ({})", status.problem)
                       : "has not asked for its rows yet");
    }

    /// Holders of several partitions may say the same.
    void add_halt(const SubscriptionHalt& halt) {
        FlowHealth& flow = flow_named(halt.subscription);
        const std::string_view state = to_string(halt.halt.kind);
        const bool is_said = flow.state == state;
        flow.state = state;
        if (!is_said) {
            add_remark(flow, halt.halt.kind == HaltKind::kPaused
                                 ? fmt::format("is {}", halt.halt.reason)
                                 : fmt::format("takes no events ({})", halt.halt.reason));
        }
        flow.unhealthy = flow.unhealthy || halt.halt.kind != HaltKind::kPaused;
    }

    /// The events of a replay are old by their nature: what counts is whether it moves.
    void add_replay(const ReplayStatus& replay) {
        const bool is_asked = replay.state == "asked";
        if (!is_asked && replay.state != "running") {
            return;
        }
        FlowHealth& flow = flow_named(replay.subscription);
        flow.state = "replaying";
        flow.unhealthy = now_ - replay.moved > lag_max_;
        add_remark(flow,
                   is_asked ? "is asked to handle past events again" : "handles past events again");
    }

    /// Partitions of one flow add up; the oldest event of all counts.
    void add_lag(FlowHealth& flow, std::uint64_t events, std::optional<Timestamp> oldest) {
        flow.lag_events += events;
        if (events == 0) {
            return;
        }
        if (oldest) {
            flow.age = std::max(flow.age.value_or(std::chrono::microseconds(0)), now_ - *oldest);
        }
        flow.state = "behind";
        flow.unhealthy = flow.unhealthy || (flow.age && *flow.age > lag_max_);
        flow.remark = fmt::format("is {}{} behind", counted(flow.lag_events, "event"),
                                  flow.age ? fmt::format(" ({})", rounded(*flow.age)) : "");
    }

    static void add_remark(FlowHealth& flow, const std::string& remark) {
        flow.remark += flow.remark.empty() ? remark : " and " + remark;
    }

    FlowHealth& flow_named(const std::string& name) {
        const auto found = std::ranges::find(health_.flows, name, &FlowHealth::name);
        if (found != health_.flows.end()) {
            return *found;
        }
        FlowHealth flow;
        flow.name = name;
        flow.state = "caught up";
        return health_.flows.emplace_back(std::move(flow));
    }

    [[nodiscard]] std::string all_is_well() const {
        if (replicas_ == 0) {
            return "Everything is caught up.";
        }
        return replicas_ == 1 ? "The replica is caught up."
                              : fmt::format("All {} replicas are caught up.", replicas_);
    }

    static std::string join(std::vector<std::string> remarks) {
        constexpr std::size_t kRemarksMax = 5;
        const std::size_t more = remarks.size() - std::min(remarks.size(), kRemarksMax);
        remarks.resize(remarks.size() - more);
        return fmt::format("{}{}.", fmt::join(remarks, "; "),
                           more == 0 ? "" : fmt::format("; and {} more", more));
    }

    const Timestamp now_;
    const std::chrono::milliseconds lag_max_;
    Health health_;
    std::size_t replicas_ = 0;
    std::map<std::string, std::uint64_t> parked_keys_;
    std::map<std::string, std::uint64_t> skipped_events_;
    std::set<std::tuple<std::string, std::string, std::uint32_t>> seen_;
};

}  // namespace

Result<std::vector<ObservedService>> observe(std::vector<ServiceConfig> configs, const Clock& clock,
                                             Brokers& brokers) {
    brokers.know(configs);
    std::vector<ObservedService> services;
    for (ServiceConfig& config : configs) {
        auto status = read_status(config, clock, brokers);
        if (!status) {
            return fail_in(config.name, std::move(status).error());
        }
        services.push_back({std::move(config), std::move(*status)});
    }
    return services;
}

Health judge_health(const std::vector<ObservedService>& services, Timestamp now,
                    std::chrono::milliseconds lag_max) {
    Judge judge(now, lag_max);
    for (const ObservedService& service : services) {
        judge.add_service(service);
    }
    return judge.verdict();
}

}  // namespace instep::cli
