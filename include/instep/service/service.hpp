// Builds a running service from its file: the composition root besides tests.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/broker/broker.hpp"
#include "instep/capture/capture.hpp"
#include "instep/config/service_file.hpp"
#include "instep/consumer/subscription.hpp"
#include "instep/db/database.hpp"
#include "instep/replica/replica.hpp"
#include "instep/service/status.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace instep {

class Logger;
class Monitor;

/// What connect() does when there is no database yet.
enum class MissingDatabase : std::uint8_t { kFail, kCreate };

/// Opens a database by its URL: "sqlite:PATH" or "postgresql://…", where `missing` means
/// nothing: a server's databases are made by people. Errors: kConfigInvalid for an unknown scheme;
/// those of Database.
Result<std::unique_ptr<Database>> open_database(const std::string& url, const Clock& clock,
                                                MissingDatabase missing = MissingDatabase::kFail);

/// The brokers of one process, one connection a URL, so that services in the same process wake
/// each other. Safe to call from any thread; must outlive what it hands out.
class Brokers {
public:
    explicit Brokers(const Clock& clock);
    ~Brokers();

    /// Services whose databases may stand in for a broker: those that the process was given. Later
    /// ones of the same name are ignored.
    void know(std::span<const ServiceConfig> services);

    /// "embedded:PATH". Errors: kConfigInvalid for an unknown scheme; those of the backend.
    Result<Broker*> open(const std::string& url);

    /// The broker that the service's file names, or, for "direct:", its log and those of the owners
    /// that it follows as one. `logger` is told what goes on there; it must outlive this, and null
    /// keeps it silent. Errors: as above; as load_service_file() for files that "direct:" names;
    /// kConfigInvalid if such an owner uses another broker.
    Result<Broker*> open(const ServiceConfig& service, Logger* logger = nullptr);

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

    /// Shared by the services of the process. Null: the service has one of its own.
    Monitor* monitor = nullptr;
};

/// A statement that `instep apply` would run. `sql` of our own tables is named, not shown.
using ServicePlan = std::vector<SchemaChange>;

/// What `apply` would change in the service's database; `peers` are contracts of other
/// services as far as the caller knows them, for replicas' tables. Changes nothing.
/// Errors: as plan_capture(), plan_replica() and Database.
Result<ServicePlan> plan_service(const ServiceConfig& config, const Clock& clock,
                                 const std::vector<Contract>& peers);

/// Migrates our tables, brings capture and replica tables into force, in one transaction
/// besides the migrations and what a replication slot needs. Returns what it did.
Result<ServicePlan> apply_service(const ServiceConfig& config, const Clock& clock,
                                  const std::vector<Contract>& peers);

/// Preflight: everything that would keep the service from working, or that an operator should
/// know. Changes nothing.
Result<std::vector<Finding>> check_service(const ServiceConfig& config, const Clock& clock);

/// With capture from the write-ahead log: where that ends now, to compare with the slot's position
/// later; otherwise 0. Errors: those of Database.
Result<std::uint64_t> mark_captured_end(const ServiceConfig& config, const Clock& clock);

/// Errors: those of Database and Broker; kSchemaMismatch before the first apply.
Result<ServiceStatus> read_status(const ServiceConfig& config, const Clock& clock,
                                  Brokers& brokers);

/// The code of a service, by the names of its file's [[subscription]] tables.
using Handlers = std::map<std::string, HandlerSet>;

/// A service that can run: a relay for each partition, a consumer for requests to it, one for
/// each replica and each subscription, and upkeep (retention). It shows itself to its monitor,
/// which listens where the file says so. Start and stop from one thread; the rest is safe from any.
class Service {
public:
    /// Opens everything and makes the subscriptions; starts nothing. Errors: kConfigInvalid unless
    /// `handlers` has code for just the subscriptions of the file; kSchemaMismatch if `apply` has
    /// not been run, or the contract in force is another than the file's; those of Database,
    /// Broker, Monitor and load_publish_contract().
    static Result<std::unique_ptr<Service>> create(ServiceConfig config,
                                                   const Surroundings& surroundings,
                                                   Handlers handlers = {});
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

    /// True once the service was moved to another broker: stop it and create it again, which is
    /// then at home there. It does nothing wrong meanwhile, and nothing at all.
    [[nodiscard]] bool has_moved() const noexcept;

    [[nodiscard]] const ServiceConfig& config() const noexcept;
    [[nodiscard]] Database& database() noexcept;

private:
    class Impl;
    explicit Service(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace instep
