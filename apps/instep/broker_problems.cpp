#include "broker_problems.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

namespace instep::cli {

namespace {

void add_findings(Broker& broker, std::vector<BrokerProblem>& problems) {
    const std::string url(broker.display_url());
    auto findings = broker.examine();
    if (!findings) {
        problems.push_back({url, "broker", findings.error().message, {}});
        return;
    }
    for (BrokerFinding& finding : *findings) {
        if (finding.severity == BrokerFinding::Severity::kProblem) {
            problems.push_back({url, std::move(finding.subject), std::move(finding.message),
                                std::move(finding.fix)});
        }
    }
}

/// Whether `subject` has `name` by itself, or with a part of it behind a dot.
bool is_named(std::string_view subject, std::string_view name) {
    constexpr std::string_view kEdges = " .{}";
    const auto begin = subject.find(name);
    if (begin == std::string_view::npos) {
        return false;
    }
    const auto end = begin + name.size();
    return (begin == 0 || kEdges.contains(subject[begin - 1])) &&
           (end == subject.size() || kEdges.contains(subject[end]));
}

/// The flow of these services that the problem is about; empty if there is none.
std::string flow_of(const BrokerProblem& problem, const std::vector<ObservedService>& services) {
    for (const auto& [config, status] : services) {
        for (const ReplicaDefinition& replica : config.replicas) {
            if (is_named(problem.subject, replica.subscription())) {
                return replica.subscription();
            }
        }
        for (const SubscriptionEntry& entry : config.subscriptions) {
            std::string name = fmt::format("{}.{}", config.name, entry.name);
            if (is_named(problem.subject, name)) {
                return name;
            }
        }
    }
    for (const auto& [config, status] : services) {
        if (is_named(problem.subject, config.name)) {
            return "relay of " + config.name;
        }
    }
    return {};
}

}  // namespace

std::vector<BrokerProblem> find_broker_problems(const std::vector<ObservedService>& services,
                                                Brokers& brokers) {
    std::vector<BrokerProblem> problems;
    std::set<const Broker*> seen;
    for (const ObservedService& service : services) {
        const auto broker = brokers.open(service.config);
        if (!broker) {
            problems.push_back({service.config.name, "broker", broker.error().message, {}});
        } else if (seen.insert(*broker).second) {
            add_findings(**broker, problems);
        }
    }
    return problems;
}

void add_problems(Health& health, const std::vector<BrokerProblem>& problems,
                  const std::vector<ObservedService>& services) {
    for (const BrokerProblem& problem : problems) {
        const std::string name = flow_of(problem, services);
        if (name.empty()) {
            continue;
        }
        auto flow = std::ranges::find(health.flows, name, &FlowHealth::name);
        if (flow == health.flows.end()) {
            FlowHealth unseen;
            unseen.name = name;
            flow = health.flows.insert(flow, std::move(unseen));
        }
        flow->state = "broken";
        flow->unhealthy = true;
        const std::string told =
            fmt::format("{} is broken: {} {}.", name, problem.subject, problem.message);
        const bool was_well = health.healthy && health.caught_up;
        health.sentence = was_well ? told : fmt::format("{} {}", health.sentence, told);
        health.healthy = false;
        health.caught_up = false;
    }
}

JsonObject to_json(const BrokerProblem& problem) {
    return JsonObject()
        .text("broker", problem.broker)
        .text("subject", problem.subject)
        .text("message", problem.message)
        .text("fix", problem.fix);
}

Table table_of(const std::vector<BrokerProblem>& problems) {
    Table table({{"AT THE BROKER"}, {"PROBLEM"}, {"WHAT TO DO"}});
    for (const BrokerProblem& problem : problems) {
        table.add_row({printable(problem.subject), printable(problem.message),
                       problem.fix.empty() ? "-" : printable(problem.fix)});
    }
    return table;
}

}  // namespace instep::cli
