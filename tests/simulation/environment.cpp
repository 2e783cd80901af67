#include "tests/simulation/environment.hpp"

#include "instep/broker/embedded/broker.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::simulation {

std::string Environment::key(std::uint64_t number) const {
    return options.text_keys ? fmt::format("k{}", number) : fmt::format("{}", number);
}

ReplicaSite& group_site(const Environment& environment) {
    return **std::ranges::find_if(environment.sites, [](const auto& site) {
        return site->definition.apply == ApplyUnit::kTransaction;
    });
}

Result<std::unique_ptr<ProcessPorts>> ProcessPorts::open(Environment& environment, Role role,
                                                         SimDatabase& database,
                                                         SubscriptionWatch* watch) {
    const auto drift_max = static_cast<std::uint64_t>(
        std::chrono::microseconds{environment.options.clock_drift}.count());
    const std::chrono::microseconds drift{environment.random.below(2 * drift_max + 1)};
    std::unique_ptr<ProcessPorts> ports(new ProcessPorts(
        environment.scheduler.clock(), drift - std::chrono::microseconds{drift_max}));
    if (environment.sim_broker) {
        ports->broker_ = environment.sim_broker.get();
    } else {
        INSTEP_TRY_ASSIGN(ports->embedded_,
                          open_embedded_broker(*environment.broker_database, ports->clock_));
        ports->broker_ = ports->embedded_.get();
    }
    if (watch != nullptr) {
        ports->observed_ = std::make_unique<ObservedBroker>(*ports->broker_, *watch);
        ports->broker_ = ports->observed_.get();
    }
    ports->database_ = &database;
    if (environment.bug != nullptr && environment.bug->role == role) {
        ports->tampered_database_ = with_bug(*environment.bug, database);
        ports->tampered_broker_ = with_bug(*environment.bug, *ports->broker_, database);
        ports->database_ = ports->tampered_database_.get();
        ports->broker_ = ports->tampered_broker_.get();
    }
    return ports;
}

}  // namespace instep::simulation
