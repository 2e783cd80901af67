#include "backend.hpp"
#include "check_postgres.hpp"
#include "instep/db/schema.hpp"
#include "instep/log/cursors.hpp"
#include "instep/service/service.hpp"
#include "instep/wal/wal_capture.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace {

/// Replicas whose owner nobody knows yet come without a contract.
Result<ServicePlan> plan_replicas(Connection& connection, const ServiceConfig& config,
                                  const std::vector<Contract>& peers) {
    std::vector<ReplicaStatus> standing;
    auto listed = list_replicas(connection);
    if (listed) {
        standing = *std::move(listed);
    } else if (listed.error().code != ErrorCode::kNotFound) {
        return std::unexpected(std::move(listed).error());
    }
    ServicePlan plan;
    for (const ReplicaDefinition& replica : config.replicas) {
        const Contract* contract = nullptr;
        const auto known = std::ranges::find(standing, replica.table, &ReplicaStatus::table);
        if (known != standing.end() && known->contract) {
            contract = &*known->contract;
        }
        const auto peer = std::ranges::find(peers, replica.topic, &Contract::topic);
        if (peer != peers.end()) {
            contract = &*peer;
        }
        auto changes = plan_replica(connection, replica, contract);
        if (!changes) {
            return fail_in(fmt::format("replica {}", replica.table), std::move(changes).error());
        }
        for (SchemaChange& change : *changes) {
            if (replica.apply == ApplyUnit::kTransaction) {
                change.summary +=
                    fmt::format(", to take in whole transactions of {}", replica.owner());
            }
            plan.push_back(std::move(change));
        }
    }
    return plan;
}

Result<ServicePlan> plan_tables(Connection& connection, const ServiceConfig& config,
                                const std::vector<Contract>& peers) {
    INSTEP_TRY(refuse_other_partitions(connection, kRelayReader, config.partitions));
    INSTEP_TRY_ASSIGN(ServicePlan plan, plan_capture_in_force(connection, config));
    INSTEP_TRY_ASSIGN(ServicePlan replicas, plan_replicas(connection, config, peers));
    std::ranges::move(replicas, std::back_inserter(plan));
    return plan;
}

ServicePlan plan_migrations(std::uint32_t level, std::size_t newest) {
    if (level >= newest) {
        return {};
    }
    return {{fmt::format("bring the tables instep_* from step {} to step {}", level, newest),
             fmt::format("-- steps {} to {} of this program's own tables", level + 1, newest)}};
}

/// A service that publishes nothing may begin with an empty database.
MissingDatabase when_missing(const ServiceConfig& config) {
    return config.publish.empty() ? MissingDatabase::kCreate : MissingDatabase::kFail;
}

}  // namespace

Result<ServicePlan> plan_service(const ServiceConfig& config, const Clock& clock,
                                 const std::vector<Contract>& peers) {
    INSTEP_TRY_ASSIGN(const auto database, open_database(config.database, clock));
    const auto connection = database->connect();
    if (!connection && connection.error().code == ErrorCode::kNotFound &&
        when_missing(config) == MissingDatabase::kCreate) {
        return ServicePlan{{fmt::format("create {}", database->display_url()),
                            "-- and this program's own tables in it"}};
    }
    INSTEP_TRY(connection);
    INSTEP_TRY_ASSIGN(const std::uint32_t level, migration_level(**connection));
    ServicePlan plan = plan_migrations(level, service_migrations((*connection)->dialect()).size());
    INSTEP_TRY_ASSIGN(ServicePlan tables, plan_tables(**connection, config, peers));
    std::ranges::move(tables, std::back_inserter(plan));
    return plan;
}

Result<ServicePlan> apply_service(const ServiceConfig& config, const Clock& clock,
                                  const std::vector<Contract>& peers) {
    INSTEP_TRY_ASSIGN(const auto database,
                      open_database(config.database, clock, when_missing(config)));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    // All that can be refused is, before anything is made.
    if (is_postgres(config.database)) {
        INSTEP_TRY(refuse_missing_rights(*connection, config));
    }
    INSTEP_TRY(plan_tables(*connection, config, peers));
    const auto migrations = service_migrations(connection->dialect());
    INSTEP_TRY_ASSIGN(const std::uint32_t level, migration_level(*connection));
    INSTEP_TRY(migrate(*connection, migrations));
    ServicePlan done = plan_migrations(level, migrations.size());
    ServicePlan capture;
    if (config.capture == CaptureBy::kWal) {
        INSTEP_TRY_ASSIGN(
            capture,
            apply_wal_capture(*connection, {config.name, config.database, config.publish}, clock));
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*connection, TransactionMode::kWrite));
    if (config.capture == CaptureBy::kTriggers) {
        INSTEP_TRY_ASSIGN(capture, apply_trigger_capture(transaction, config.name, config.publish));
    }
    INSTEP_TRY_ASSIGN(ServicePlan replicas, plan_replicas(*connection, config, peers));
    INSTEP_TRY(run_changes(transaction, replicas));
    INSTEP_TRY(transaction.commit());
    std::ranges::move(capture, std::back_inserter(done));
    std::ranges::move(replicas, std::back_inserter(done));
    return done;
}

}  // namespace instep
