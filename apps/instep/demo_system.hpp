// The user directory of a demo: iam and three services that hold lookup_users, on one machine.
#pragma once

#include "command.hpp"
#include "demo_databases.hpp"
#include "demo_folder.hpp"
#include "demo_latency.hpp"
#include "demo_writer.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/db/database.hpp"
#include "instep/replica/replica.hpp"
#include "instep/telemetry/log_sink.hpp"
#include "instep/telemetry/logger.hpp"
#include "services.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep::cli {

/// A replica as its database and the broker have it.
struct ReplicaLook {
    std::string name;
    ReplicaState state = ReplicaState::kNew;
    std::uint64_t filled_rows = 0;
    ApplyCounts counts;

    /// Events committed by iam that have not reached it.
    std::uint64_t lag = 0;
    std::uint64_t parked_keys = 0;
    std::uint64_t parked_events = 0;
};

/// The whole system at one moment.
struct SystemLook {
    /// Changes in iam's log, and those of them that the relay has published.
    std::uint64_t committed = 0;
    std::uint64_t published = 0;
    std::vector<ReplicaLook> replicas;

    [[nodiscard]] bool is_live() const;

    /// Live, and nothing waits anywhere but behind a parked key.
    [[nodiscard]] bool is_caught_up() const;
};

/// One service that holds a replica, and a connection to its database for the demo's own use.
struct DemoReplica {
    std::string service;
    ReplicaDefinition definition;
    std::unique_ptr<Connection> connection;
};

/// For one thread at a time.
class DemoSystem {
public:
    /// Makes the databases, claims the folder, fills `users` with `rows` rows and applies the
    /// service files; nothing runs yet, and the replicas are still to be filled.
    static Result<std::unique_ptr<DemoSystem>> prepare(Context& context, const DemoPlace& place,
                                                       std::uint64_t rows);

    /// Runs these services in this process until stop(). Services that were started together
    /// wake each other; others look at the broker ten times a second.
    Result<void> start(std::span<const std::string_view> services);
    Result<void> start_all();

    /// Stops everything, or the services that were started together with `service`.
    Result<void> stop();
    Result<void> stop(std::string_view service);

    /// Stops everything and drops what is not to stay. Only the folder may be asked for then.
    Result<void> close();

    Result<std::unique_ptr<DemoWriter>> make_writer(DemoWriterOptions options);
    Result<std::unique_ptr<LatencyProbe>> make_probe();

    Result<SystemLook> look();

    /// Waits until is_caught_up(), whatever the signals. Errors: kTimeout when nothing moves for
    /// half a minute.
    Result<SystemLook> wait_until_caught_up();

    /// What flows that fail say; empty if none does.
    [[nodiscard]] std::vector<std::string> failures() const;

    [[nodiscard]] const DemoFolder& folder() const { return folder_; }
    [[nodiscard]] const DemoDatabases& databases() const { return databases_; }

    /// The begin of a command for a terminal that ends with SQL for iam's database.
    [[nodiscard]] std::string iam_shell() const;
    [[nodiscard]] std::uint64_t start_rows() const { return start_rows_; }
    [[nodiscard]] Connection& iam() { return *iam_; }
    [[nodiscard]] Broker& broker() { return *broker_; }
    [[nodiscard]] std::span<const DemoReplica> replicas() const { return replicas_; }

    /// Where services that run elsewhere may log, too.
    [[nodiscard]] int log_descriptor() const { return log_.descriptor; }
    [[nodiscard]] Context& context() { return context_; }

private:
    /// Closes its descriptor.
    struct LogFile {
        explicit LogFile(const std::string& path);
        LogFile(const LogFile&) = delete;
        LogFile& operator=(const LogFile&) = delete;
        ~LogFile();
        int descriptor;
    };

    DemoSystem(Context& context, DemoDatabases databases, DemoFolder folder, std::uint64_t rows);
    Result<void> make_tables();
    Result<void> connect();
    Result<ReplicaLook> look_at(const DemoReplica& replica, std::uint64_t unpublished,
                                std::span<const SubscriptionLag> lags);

    Context& context_;

    /// Outlives everything that is connected to them.
    DemoDatabases databases_;
    const DemoFolder folder_;
    const std::uint64_t start_rows_;
    LogFile log_;
    FileLogSink log_sink_;
    Logger logger_;
    std::vector<ServiceConfig> configs_;
    std::unique_ptr<Database> iam_database_;
    std::unique_ptr<Connection> iam_;
    std::vector<DemoReplica> replicas_;
    Brokers brokers_;
    Broker* broker_ = nullptr;
    std::vector<std::unique_ptr<ServiceGroup>> groups_;
};

}  // namespace instep::cli
