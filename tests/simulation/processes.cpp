#include "instep/consumer/consumer.hpp"
#include "instep/relay/relay.hpp"
#include "instep/replica/replica_group.hpp"
#include "instep/replica/scan.hpp"
#include "tests/simulation/consumer_process.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

namespace instep::simulation {

namespace {

class RelayProcess final : public Process {
public:
    explicit RelayProcess(Environment& environment) : environment_(environment) {}

    Result<void> start() override {
        INSTEP_TRY_ASSIGN(
            ports_, ProcessPorts::open(environment_, Role::kRelay, *environment_.source, nullptr));
        const Options& options = environment_.options;
        std::vector<std::string> topics;
        std::vector<std::string> entities;
        for (const WholeTable& table : kWholeTables) {
            if (options.group.tables > 0) {
                topics.emplace_back(table.topic);
                entities.emplace_back(table.entity);
            }
        }
        for (std::uint32_t p = 0; p < options.partitions; ++p) {
            const Partition partition{p, options.partitions};
            scans_.push_back(
                std::make_unique<ScanSource>(std::string(kOwner), partition, environment_.logger,
                                             ScanOptions{.chunk_rows_max = options.chunk_rows_max,
                                                         .digest_rows = options.digest_rows,
                                                         .digests_max = options.digests_max,
                                                         .transactions = entities}));
            if (environment_.bug != nullptr && environment_.bug->chunks) {
                scans_.push_back(environment_.bug->chunks(*scans_.back()));
            }
            INSTEP_TRY_ASSIGN(
                auto relay,
                Relay::create(
                    ports_->database(), ports_->broker(), scans_.back().get(), environment_.logger,
                    RelayOptions{.service = std::string(kOwner),
                                 .owner = std::string(environment_.scheduler.current_name()),
                                 .partition = partition,
                                 .transactions = topics,
                                 .batch_events_max = options.relay_batch_max,
                                 .lease_duration = options.lease}));
            relays_.push_back(std::move(relay));
        }
        return {};
    }

    Result<std::uint64_t> work() override {
        Result<std::uint64_t> done = 0;
        for (const auto& relay : relays_) {
            const auto confirmed = relay->run_once();
            if (!confirmed) {
                done = confirmed;
            } else if (done) {
                *done += *confirmed;
            }
        }
        return done;
    }

private:
    Environment& environment_;
    std::unique_ptr<ProcessPorts> ports_;
    std::vector<std::unique_ptr<ChunkSource>> scans_;
    std::vector<std::unique_ptr<Relay>> relays_;
};

class RequestsProcess final : public ConsumerProcess {
public:
    explicit RequestsProcess(Environment& environment)
        : ConsumerProcess(environment, Role::kRequests) {}

    Result<void> start() override {
        const std::uint32_t partitions = environment().options.partitions;
        return open(*environment().source, *environment().requests, kRequestTopic,
                    std::make_unique<InboxHandler>(
                        environment().requests->subscription(),
                        [partitions](Transaction& transaction, const Event& event) {
                            return accept_scan_request(transaction, event, partitions);
                        },
                        environment().logger));
    }

    Result<std::uint64_t> work() override { return consume(); }
};

/// Relays the requests of its replicas besides.
class HolderProcess : public ConsumerProcess {
public:
    using ConsumerProcess::ConsumerProcess;

    Result<std::uint64_t> work() override {
        INSTEP_TRY_ASSIGN(const std::uint64_t relayed, relay_->run_once());
        INSTEP_TRY_ASSIGN(const std::uint64_t consumed, consume());
        return relayed + consumed;
    }

protected:
    /// Asks for the rows that are missing, by `ask`, and opens the relay.
    Result<void> ask_and_relay(SimDatabase& database, const std::string& service,
                               const std::function<Result<void>(Transaction&)>& ask) {
        {
            INSTEP_TRY_ASSIGN(auto connection, database.connect({}));
            INSTEP_TRY_ASSIGN(Transaction transaction,
                              Transaction::begin(*connection, TransactionMode::kWrite));
            INSTEP_TRY(ask(transaction));
            INSTEP_TRY(transaction.commit());
        }
        INSTEP_TRY_ASSIGN(
            relay_,
            Relay::create(database, ports().broker(), nullptr, environment().logger,
                          RelayOptions{.service = service,
                                       .owner = std::string(environment().scheduler.current_name()),
                                       .partition = {},
                                       .batch_events_max = environment().options.relay_batch_max,
                                       .lease_duration = environment().options.lease}));
        return {};
    }

private:
    std::unique_ptr<Relay> relay_;
};

class ReplicaProcess final : public HolderProcess {
public:
    ReplicaProcess(Environment& environment, ReplicaSite& site)
        : HolderProcess(environment, Role::kReplica), site_(site) {}

    Result<void> start() override {
        INSTEP_TRY(open(*site_.database, *site_.replica, kTopic,
                        std::make_unique<ReplicaHandler>(site_.definition, environment().random,
                                                         environment().logger)));
        return ask_and_relay(
            *site_.database, site_.definition.service,
            [this](Transaction& transaction) -> Result<void> {
                INSTEP_TRY(ensure_filled(transaction, site_.definition, environment().random));
                return {};
            });
    }

private:
    ReplicaSite& site_;
};

class GroupProcess final : public HolderProcess {
public:
    explicit GroupProcess(Environment& environment) : HolderProcess(environment, Role::kGroup) {
        for (const auto& site : environment.sites) {
            if (site->definition.apply == ApplyUnit::kTransaction) {
                definitions_.push_back(site->definition);
            }
        }
    }

    Result<void> start() override {
        const GroupOptions& group = environment().options.group;
        const Scheduler& scheduler = environment().scheduler;
        if (const auto now = scheduler.clock().monotonic(); now < group.joins_after) {
            environment().scheduler.rest(group.joins_after - now);
        }
        SimDatabase& database = *group_site(environment()).database;
        ConsumerOptions options;
        options.unit = ApplyUnit::kTransaction;
        options.start_at = StartAt::kLatest;
        options.transaction_events_max = group.events_held_max;
        INSTEP_TRY(open(database, *environment().group, definitions_.front().source_topic(),
                        std::make_unique<ReplicaGroupHandler>(definitions_, environment().random,
                                                              environment().logger),
                        std::move(options)));
        return ask_and_relay(
            database, definitions_.front().service, [this](Transaction& transaction) {
                return ensure_group_filled(transaction, definitions_, environment().random);
            });
    }

private:
    std::vector<ReplicaDefinition> definitions_;
};

}  // namespace

std::unique_ptr<Process> make_relay(Environment& environment) {
    return std::make_unique<RelayProcess>(environment);
}

std::unique_ptr<Process> make_request_consumer(Environment& environment) {
    return std::make_unique<RequestsProcess>(environment);
}

std::unique_ptr<Process> make_replica(Environment& environment, ReplicaSite& site) {
    return std::make_unique<ReplicaProcess>(environment, site);
}

std::unique_ptr<Process> make_group(Environment& environment) {
    return std::make_unique<GroupProcess>(environment);
}

}  // namespace instep::simulation
