// Builds a running service from its file: the composition root besides tests.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/broker/broker.hpp"
#include "instep/capture/capture.hpp"
#include "instep/config/service_file.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/db/database.hpp"
#include "instep/log/reader.hpp"
#include "instep/replica/replica.hpp"
#include "instep/replica/scan.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace instep {

class Logger;

/// What connect() does when there is no database yet.
enum class MissingDatabase : std::uint8_t { kFail, kCreate };

/// Opens a database by its URL: "sqlite:PATH". Errors: kConfigInvalid for an unknown scheme;
/// those of Database.
Result<std::unique_ptr<Database>> open_database(const std::string& url, const Clock& clock,
                                                MissingDatabase missing = MissingDatabase::kFail);

/// The brokers of one process, one connection a URL, so that services in the same process wake
/// each other. Safe to call from any thread; must outlive what it hands out.
class Brokers {
public:
    explicit Brokers(const Clock& clock);
    ~Brokers();

    /// "embedded:PATH". Errors: kConfigInvalid for an unknown scheme; those of the backend.
    Result<Broker*> open(const std::string& url);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// What a service needs from its process. Everything must outlive the service.
struct Surroundings {
    const Clock& clock;
    Random& random;
    Logger& logger;
    Brokers& brokers;

    /// Unique among the processes that may run the same service.
    std::string process_id;
};

/// A statement that `instep apply` would run. `sql` of our own tables is named, not shown.
using ServicePlan = std::vector<SchemaChange>;

/// What `apply` would change in the service's database; `peers` are contracts of other
/// services as far as the caller knows them, for replicas' tables. Changes nothing.
/// Errors: as plan_capture(), plan_replica() and Database.
Result<ServicePlan> plan_service(const ServiceConfig& config, const Clock& clock,
                                 const std::vector<Contract>& peers);

/// Migrates our tables, brings triggers and replica tables into force, in one transaction
/// besides the migrations. Returns what it did.
Result<ServicePlan> apply_service(const ServiceConfig& config, const Clock& clock,
                                  const std::vector<Contract>& peers);

/// Preflight: everything that would keep the service from working, or that an operator should
/// know. Changes nothing.
Result<std::vector<Finding>> check_service(const ServiceConfig& config, const Clock& clock);

/// One loop of a service, as health judges it: by progress, not by being alive.
struct FlowStatus {
    /// "relay", "requests", "replica lookup_users", "upkeep".
    std::string name;

    /// "running", "idle", "standby", "failing" or "stopped".
    std::string state;

    /// Empty unless failing.
    std::string error;
    std::uint64_t events = 0;
};

/// A service as its database and broker show it; needs no running process.
struct ServiceStatus {
    std::string service;
    LogLag log_lag;
    std::vector<SubscriptionLag> subscriptions;
    std::vector<SubscriptionProgress> progress;
    std::vector<ReplicaStatus> replicas;
    std::vector<ParkedKey> parked;
    std::vector<ScanStatus> scans;

    /// Who relays now; nothing when nobody does.
    std::optional<std::string> relay_owner;
};

/// Errors: those of Database and Broker; kSchemaMismatch before the first apply.
Result<ServiceStatus> read_status(const ServiceConfig& config, const Clock& clock,
                                  Brokers& brokers);

/// A service that can run: a relay for each partition, a consumer for requests to it, one for
/// each replica, and upkeep (retention). Start and stop from one thread; the rest is safe
/// from any.
class Service {
public:
    /// Opens everything and makes the subscriptions; starts nothing. Errors: kSchemaMismatch if
    /// `apply` has not been run, or the contract in force is another than the file's; those of
    /// Database and Broker.
    static Result<std::unique_ptr<Service>> create(ServiceConfig config,
                                                   const Surroundings& surroundings);
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;

    /// As stop().
    ~Service();

    /// Starts one thread a loop. No effect if already started; a stopped service stays so.
    void start();

    /// Finishes what is in flight, gives up leases, joins the threads. Errors: kTimeout if
    /// something outlives `grace`; call again.
    Result<void> stop(std::chrono::milliseconds grace);

    /// Runs every loop's step once on the calling thread, for tests and single-threaded
    /// embedders. Returns how many events moved. Must not be mixed with start().
    Result<std::uint64_t> run_once();

    [[nodiscard]] std::vector<FlowStatus> flows() const;

    [[nodiscard]] const ServiceConfig& config() const noexcept;
    [[nodiscard]] Database& database() noexcept;

private:
    class Impl;
    explicit Service(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace instep
