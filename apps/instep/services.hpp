// The service files that a command was given, and those services run in this process.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/capture/contract.hpp"
#include "instep/config/service_file.hpp"
#include "instep/db/connection.hpp"
#include "instep/db/database.hpp"
#include "instep/service/service.hpp"

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace instep {
class Logger;
}

namespace instep::cli {

/// Unique among processes, and readable in a list of leases.
std::string make_process_id(Random& random);

/// How long a command lets services finish what is in flight.
inline constexpr std::chrono::seconds kStopGrace{5};

/// Reads all files. Errors: as load_service_file(); kInvalidArgument if two files describe one
/// service.
Result<std::vector<ServiceConfig>> load_services(std::span<const std::string> files);

/// The connection lives within the database.
struct ServiceDatabase {
    std::unique_ptr<Database> database;
    std::unique_ptr<Connection> connection;

    /// Errors: those of Database; kSchemaMismatch before `instep apply`.
    static Result<ServiceDatabase> open(const ServiceConfig& config, const Clock& clock);
};

/// What one service's database lacks, or has got.
struct ServiceChanges {
    std::string service;
    ServicePlan changes;
};

/// As plan_service() for each; the contracts of all of them serve the replicas of all of them.
Result<std::vector<ServiceChanges>> plan_services(std::span<const ServiceConfig> configs,
                                                  const Clock& clock);

/// As apply_service() for each, owners' contracts read before anything is changed.
Result<std::vector<ServiceChanges>> apply_services(std::span<const ServiceConfig> configs,
                                                   const Clock& clock);

/// Services that run in this process.
class ServiceGroup {
public:
    /// Creates all; starts none. All else must outlive the group; without a monitor each service
    /// has its own. Errors: as Service::create().
    static Result<std::unique_ptr<ServiceGroup>> create(std::vector<ServiceConfig> configs,
                                                        const Clock& clock, Random& random,
                                                        Logger& logger, Monitor* monitor = nullptr);

    void start();

    /// Errors: kTimeout, naming the service that is not done within kStopGrace.
    Result<void> stop();

    /// Makes those anew that were moved to another broker. Errors: as Service::stop() and
    /// Service::create(), naming the service, which does nothing until the next call.
    Result<void> follow_moves();

    [[nodiscard]] std::span<const std::unique_ptr<Service>> services() const { return services_; }

    /// True if one of them is called so.
    [[nodiscard]] bool holds(std::string_view service) const;

    /// What flows that fail say: "relay of iam: …". Empty if none fails.
    [[nodiscard]] std::vector<std::string> failures() const;

private:
    ServiceGroup(const Clock& clock, Random& random, Logger& logger, std::string process_id,
                 Monitor* monitor)
        : clock_(clock),
          brokers_(clock),
          surroundings_{clock, random, logger, brokers_, std::move(process_id), monitor} {}

    const Clock& clock_;
    Brokers brokers_;
    const Surroundings surroundings_;
    std::vector<std::unique_ptr<Service>> services_;
};

}  // namespace instep::cli
