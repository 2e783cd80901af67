#include "tests/simulation/environment.hpp"

#include "instep/broker/embedded/broker.hpp"
#include "instep/direct/broker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace instep::simulation {

namespace {

/// For who wants a database to itself.
class SharedDatabase final : public Database {
public:
    explicit SharedDatabase(Database& database) : database_(database) {}

    Result<std::unique_ptr<Connection>> connect(ConnectOptions options) override {
        return database_.connect(options);
    }
    [[nodiscard]] std::string_view display_url() const override { return database_.display_url(); }

private:
    Database& database_;
};

}  // namespace

std::string Environment::key(std::uint64_t number) const {
    return options.text_keys ? fmt::format("k{}", number) : fmt::format("{}", number);
}

ReplicaSite& group_site(const Environment& environment) {
    return **std::ranges::find_if(environment.sites, [](const auto& site) {
        return site->definition.apply == ApplyUnit::kTransaction;
    });
}

std::vector<std::uint32_t> partitions_of_effects(const Options& options) {
    const std::uint32_t count = options.handling.reads_log ? 1 : options.partitions;
    std::vector<std::uint32_t> partitions(count);
    std::iota(partitions.begin(), partitions.end(), 0U);
    return partitions;
}

Result<void> ProcessPorts::open_broker(Environment& environment, Role role) {
    if (role == Role::kEffects && environment.options.handling.reads_log) {
        DirectOptions direct{.service = "data-owner", .owners = {}};
        direct.owners.push_back({.service = std::string(kOwner),
                                 .database = std::make_unique<SharedDatabase>(*environment.source),
                                 .topics = {std::string(kTopic)}});
        INSTEP_TRY_ASSIGN(own_, open_direct_broker(std::move(direct), clock_, environment.logger));
    } else if (environment.sim_broker) {
        broker_ = environment.sim_broker.get();
        return {};
    } else {
        INSTEP_TRY_ASSIGN(own_, open_embedded_broker(*environment.broker_database, clock_));
    }
    broker_ = own_.get();
    return {};
}

Result<std::unique_ptr<ProcessPorts>> ProcessPorts::open(Environment& environment, Role role,
                                                         SimDatabase& database,
                                                         SubscriptionWatch* watch) {
    const auto drift_max = static_cast<std::uint64_t>(
        std::chrono::microseconds{environment.options.clock_drift}.count());
    const std::chrono::microseconds drift{environment.random.below(2 * drift_max + 1)};
    std::unique_ptr<ProcessPorts> ports(new ProcessPorts(
        environment.scheduler.clock(), drift - std::chrono::microseconds{drift_max}));
    INSTEP_TRY(ports->open_broker(environment, role));
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
