// What the benchmarks share: a service system in a temporary folder, stop watches, memory.
//
// A benchmark prints ratios against a limit that it measured in the same run, since absolute
// figures of shared machines mean little. It is no test: it never fails for being slow.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/random.hpp"
#include "instep/service/service.hpp"
#include "instep/telemetry/log_sink.hpp"
#include "instep/telemetry/logger.hpp"
#include "tests/support/temp_dir.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace instep::bench {

/// A benchmark that cannot be set up has no result.
template <class T>
T must(Result<T> result) {
    if (!result) {
        throw std::runtime_error(result.error().message);
    }
    if constexpr (!std::is_void_v<T>) {
        return std::move(*result);
    }
}

using Seconds = std::chrono::duration<double>;

/// Systems are made without a broker: followers read the owner's log. Set by --direct.
inline bool without_broker = false;

/// How long `work` takes.
Seconds time_of(const std::function<void()>& work);

/// Most memory that this process has had resident, in MiB.
double peak_memory_mib();

/// CPU time of this process so far.
Seconds cpu_time();

/// Repeats `check` until it is true.
void wait_until(const std::function<bool()>& check);

/// What a system is made of.
struct SystemOptions {
    std::size_t replicas = 1;

    /// What the owner publishes: the table that the replicas are of.
    PublishEntry publish;

    /// The replicas' table.
    std::string replica_table = "lookup_users";

    /// Makes a database of this name and returns its URL. Empty: files in the system's folder.
    std::function<std::string(const std::string& name)> make_database{};

    /// The broker's URL. Empty: an embedded one in the system's folder.
    std::string broker{};
};

/// The owner "iam" and replicas of its table, each a service with a database of its own, and
/// an embedded broker or none; all in this process, as `instep run` has them.
class System {
public:
    explicit System(const SystemOptions& options);

    /// Replicas of users on SQLite.
    explicit System(std::size_t replicas);
    ~System();

    /// Brings triggers into force and starts the owner.
    void start_owner();

    /// Starts the replicas; their backfills begin.
    void start_replicas();
    void start_replica(std::size_t index);

    /// Stops whatever runs. It can be started again.
    void stop();

    [[nodiscard]] std::unique_ptr<Connection> connect_owner();
    [[nodiscard]] std::unique_ptr<Connection> connect_replica(std::size_t index);

    /// Opens another file in the system's folder, as the services' files are opened.
    [[nodiscard]] std::unique_ptr<Connection> connect_file(const std::string& name);

    /// Another file with a table like the first replica's, holding the same rows.
    [[nodiscard]] std::unique_ptr<Connection> copy_replica(const std::string& name);

    [[nodiscard]] const std::string& owner_url() const { return owner_.database; }
    [[nodiscard]] const std::string& replica_url(std::size_t index) const {
        return replicas_[index].database;
    }
    [[nodiscard]] Broker& broker() { return *must(brokers_.open(owner_)); }

    [[nodiscard]] const ReplicaDefinition& definition(std::size_t index) const {
        return replicas_[index].replicas.front();
    }

    /// All replicas are filled and have applied everything that was committed.
    [[nodiscard]] bool caught_up();

    [[nodiscard]] bool is_live(Connection& replica);

    SystemClock clock;
    SystemRandom random;
    test::TempDir dir;

private:
    void start(const ServiceConfig& config);
    std::unique_ptr<Connection> connect(const std::string& url);

    FileLogSink sink_{2};
    Logger logger_{sink_, clock, {LogLevel::kError, LogFormat::kText}};
    Brokers brokers_{clock};
    Surroundings surroundings_{clock, random, logger_, brokers_, "bench"};
    ServiceConfig owner_;
    std::vector<ServiceConfig> replicas_;
    std::vector<std::unique_ptr<Database>> databases_;
    std::vector<std::unique_ptr<Service>> services_;
};

/// Each prints its own lines.
void run_sync_bench();
void run_latency_bench();
void run_backfill_bench();
void run_verify_bench();

}  // namespace instep::bench
