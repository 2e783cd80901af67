#include "services.hpp"

#include "instep/db/schema.hpp"
#include "instep/service/monitor.hpp"
#include "output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <unistd.h>

namespace instep::cli {

namespace {

Result<std::vector<Contract>> published_contracts(std::span<const ServiceConfig> configs,
                                                  const Clock& clock) {
    std::vector<Contract> contracts;
    for (const ServiceConfig& config : configs) {
        if (config.publish.empty()) {
            continue;
        }
        INSTEP_TRY_ASSIGN(const auto database, open_database(config.database, clock));
        INSTEP_TRY_ASSIGN(const auto connection, database->connect());
        for (const PublishEntry& entry : config.publish) {
            auto contract = bind_contract(*connection, config.name, entry);
            if (!contract) {
                return fail_in(config.path, std::move(contract).error());
            }
            contracts.push_back(std::move(*contract));
        }
    }
    return contracts;
}

using ChangeService = Result<ServicePlan> (*)(const ServiceConfig&, const Clock&,
                                              const std::vector<Contract>&);

Result<std::vector<ServiceChanges>> for_each_service(std::span<const ServiceConfig> configs,
                                                     const Clock& clock, ChangeService change) {
    INSTEP_TRY_ASSIGN(const auto contracts, published_contracts(configs, clock));
    std::vector<ServiceChanges> all;
    for (const ServiceConfig& config : configs) {
        auto changes = change(config, clock, contracts);
        if (!changes) {
            return fail_in(config.name, std::move(changes).error());
        }
        all.push_back({config.name, std::move(*changes)});
    }
    return all;
}

}  // namespace

std::string make_process_id(Random& random) {
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) != 0) {
        host[0] = '\0';
    }
    return fmt::format("{}/{}/{:08x}", host.data(), ::getpid(), random.below(1ULL << 32U));
}

Result<std::vector<ServiceConfig>> load_services(std::span<const std::string> files) {
    std::vector<ServiceConfig> configs;
    for (const std::string& file : files) {
        INSTEP_TRY_ASSIGN(ServiceConfig config, load_service_file(file, process_environment()));
        const auto twin = std::ranges::find(configs, config.name, &ServiceConfig::name);
        if (twin != configs.end()) {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("{} and {} both describe service {}; give one of them",
                                    twin->path, config.path, config.name));
        }
        configs.push_back(std::move(config));
    }
    return configs;
}

Result<ServiceDatabase> ServiceDatabase::open(const ServiceConfig& config, const Clock& clock) {
    ServiceDatabase opened;
    INSTEP_TRY_ASSIGN(opened.database, open_database(config.database, clock));
    INSTEP_TRY_ASSIGN(opened.connection, opened.database->connect());
    if (auto sound = check_service_tables(*opened.connection); !sound) {
        return fail_in(config.name, std::move(sound).error());
    }
    return opened;
}

Result<std::vector<ServiceChanges>> plan_services(std::span<const ServiceConfig> configs,
                                                  const Clock& clock) {
    return for_each_service(configs, clock, plan_service);
}

Result<std::vector<ServiceChanges>> apply_services(std::span<const ServiceConfig> configs,
                                                   const Clock& clock) {
    // What one service is refused keeps all of them as they are.
    INSTEP_TRY(plan_services(configs, clock));
    return for_each_service(configs, clock, apply_service);
}

Result<std::unique_ptr<ServiceGroup>> ServiceGroup::create(std::vector<ServiceConfig> configs,
                                                           const Clock& clock, Random& random,
                                                           Logger& logger, Monitor* monitor) {
    std::unique_ptr<ServiceGroup> group(new ServiceGroup(
        clock, random, logger, monitor != nullptr ? monitor->process_id() : make_process_id(random),
        monitor));
    group->brokers_.know(configs);
    for (ServiceConfig& config : configs) {
        const std::string name = config.name;
        auto service = Service::create(std::move(config), group->surroundings_);
        if (!service) {
            return fail_in(name, std::move(service).error());
        }
        group->services_.push_back(std::move(*service));
    }
    return group;
}

void ServiceGroup::start() {
    for (const auto& service : services_) {
        service->start();
    }
}

Result<void> ServiceGroup::stop() {
    const auto give_up = clock_.monotonic() + kStopGrace;
    for (const auto& service : services_) {
        // Asks all of them before it waits for one.
        std::ignore = service->stop(std::chrono::milliseconds(0));
    }
    for (const auto& service : services_) {
        const auto left = std::max(give_up - clock_.monotonic(), std::chrono::microseconds(0));
        auto stopped = service->stop(std::chrono::duration_cast<std::chrono::milliseconds>(left));
        if (!stopped) {
            return fail_in(service->config().name, std::move(stopped).error());
        }
    }
    return {};
}

Result<void> ServiceGroup::follow_moves() {
    for (auto& service : services_) {
        if (!service->has_moved()) {
            continue;
        }
        const std::string name = service->config().name;
        if (auto stopped = service->stop(kStopGrace); !stopped) {
            return fail_in(name, std::move(stopped).error());
        }
        auto moved = Service::create(service->config(), surroundings_);
        if (!moved) {
            return fail_in(name, std::move(moved).error());
        }
        service = std::move(*moved);
        service->start();
    }
    return {};
}

bool ServiceGroup::holds(std::string_view service) const {
    return std::ranges::any_of(
        services_, [service](const auto& each) { return each->config().name == service; });
}

std::vector<std::string> ServiceGroup::failures() const {
    std::vector<std::string> failures;
    for (const auto& service : services_) {
        for (const FlowStatus& flow : service->flows()) {
            if (!flow.error.empty()) {
                failures.push_back(
                    fmt::format("{} of {}: {}", flow.name, service->config().name, flow.error));
            }
        }
    }
    return failures;
}

}  // namespace instep::cli
