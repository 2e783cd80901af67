// What the simulated processes of one run share.
#pragma once

#include "instep/replica/replica.hpp"
#include "instep/telemetry/logger.hpp"
#include "tests/simulation/chaos.hpp"
#include "tests/simulation/effects_watch.hpp"
#include "tests/simulation/group_watch.hpp"
#include "tests/simulation/log_history.hpp"
#include "tests/simulation/observed_broker.hpp"
#include "tests/simulation/owner.hpp"
#include "tests/simulation/planted_bugs.hpp"
#include "tests/simulation/sim_broker.hpp"
#include "tests/simulation/sim_database.hpp"
#include "tests/simulation/watches.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace instep::simulation {

/// A service that holds replicas, and what it asks of the owner.
struct Holder {
    std::string service;
    std::unique_ptr<SimDatabase> database;
    std::unique_ptr<LogHistory> requests;
};

/// A replica of one of the owner's tables.
struct ReplicaSite {
    ReplicaDefinition definition;
    std::string_view source_table;

    /// Its holder's.
    SimDatabase* database = nullptr;
    std::unique_ptr<ReplicaWatch> replica;

    /// Null if no effects are counted here.
    std::unique_ptr<EffectsWatch> effects;

    /// What the handler that counts effects still has in store for an event.
    struct Fate {
        std::uint32_t failures_left = 0;
        bool is_hopeless = false;
        bool is_unwanted = false;
    };
    std::map<Turn, Fate> fates;

    /// What that handler needs is down so long.
    std::chrono::microseconds down_until{0};
};

struct Environment {
    Options options;
    Scheduler& scheduler;
    Chaos& chaos;
    Random& random;
    Logger& logger;
    Findings& findings;

    /// Null without one.
    const PlantedBug* bug = nullptr;

    std::unique_ptr<SimDatabase> source{};
    std::unique_ptr<LogHistory> source_log{};
    std::unique_ptr<RequestsWatch> requests{};
    std::vector<std::unique_ptr<Holder>> holders{};
    std::vector<std::unique_ptr<ReplicaSite>> sites{};

    /// Null unless some of the sites take in whole transactions.
    std::unique_ptr<GroupWatch> group{};

    /// One of the two is null.
    std::unique_ptr<SimBroker> sim_broker{};
    std::unique_ptr<SimDatabase> broker_database{};

    /// What the writers may still do.
    std::uint32_t transactions_left = 0;
    std::uint32_t transactions_open = 0;
    std::uint64_t values_written = 0;
    std::uint64_t edits = 0;
    double poison = 0;

    /// The operator acts, and processes are stopped and started in order.
    bool operating = true;

    [[nodiscard]] std::string key(std::uint64_t number) const;
};

/// Of what the consumer that counts effects reads.
std::vector<std::uint32_t> partitions_of_effects(const Options& options);

/// The value that one replica's table refuses.
inline constexpr std::string_view kPoison = "poison";

/// One of those that take in whole transactions, of which there are some.
ReplicaSite& group_site(const Environment& environment);

/// What one process sees of the world. Made when the process starts, gone when it ends.
class ProcessPorts {
public:
    /// `database` is that of the process's service; `watch` is on the subscription that the
    /// process works on, and may be null.
    static Result<std::unique_ptr<ProcessPorts>> open(Environment& environment, Role role,
                                                      SimDatabase& database,
                                                      SubscriptionWatch* watch);

    [[nodiscard]] Database& database() { return *database_; }
    [[nodiscard]] Broker& broker() { return *broker_; }

private:
    explicit ProcessPorts(const Clock& clock, std::chrono::microseconds drift)
        : clock_(clock, drift) {}

    Result<void> open_broker(Environment& environment, Role role);

    DriftingClock clock_;
    std::unique_ptr<Broker> own_;
    std::unique_ptr<Broker> observed_;
    std::unique_ptr<Database> tampered_database_;
    std::unique_ptr<Broker> tampered_broker_;
    Database* database_ = nullptr;
    Broker* broker_ = nullptr;
};

}  // namespace instep::simulation
