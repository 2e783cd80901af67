// What backfill, verify and repair share: they ask for something in a replica's database, run
// the services that they were given in this process, and wait for the answer. Leases see to
// it that this goes well beside a daemon that runs the same services.
#pragma once

#include "command.hpp"
#include "instep/db/connection.hpp"
#include "instep/replica/replica.hpp"
#include "instep/telemetry/log_sink.hpp"
#include "instep/telemetry/logger.hpp"
#include "interrupt.hpp"
#include "services.hpp"
#include "waiting.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep::cli {

/// One replica that a command works on, and a connection to its database.
struct ReplicaTarget {
    ReplicaDefinition definition;
    std::unique_ptr<Connection> connection;

    /// "data-owner.lookup_users".
    [[nodiscard]] std::string name() const { return definition.address(); }
};

/// As the database has it; state kNew if it has never been heard of.
Result<ReplicaStatus> replica_status(const ReplicaTarget& target);

/// Services that run from open() to the end of its life, and replicas of theirs.
class ReplicaSession {
public:
    /// Runs the services of `files`; the targets are their replicas called `table`, or all when
    /// it is empty. Errors: kNotFound if there is none; those of load_services() and
    /// ServiceGroup::create().
    static Result<std::unique_ptr<ReplicaSession>> open(Context& context,
                                                        std::span<const std::string> files,
                                                        std::string_view table);

    [[nodiscard]] std::span<const ReplicaTarget> targets() const { return targets_; }

    /// Waits until done() holds of every target, and shows progress() of those left on the way.
    struct Step {
        std::function<Result<bool>(std::size_t target)> done;
        std::function<std::string(std::size_t target)> progress;
    };
    Result<void> wait_for_all(const Step& step, std::optional<std::chrono::milliseconds> timeout);

private:
    explicit ReplicaSession(Context& context);
    Result<void> start(std::vector<ServiceConfig> configs, std::string_view table);
    [[nodiscard]] std::string obstacles(const ReplicaTarget& target) const;

    Context& context_;
    Interrupt interrupt_;
    FileLogSink log_sink_;
    Logger logger_;
    std::unique_ptr<ServiceGroup> group_;
    std::vector<ReplicaTarget> targets_;
};

}  // namespace instep::cli
