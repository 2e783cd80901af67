#include "instep/consumer/consumer.hpp"
#include "instep/relay/relay.hpp"
#include "instep/replica/scan.hpp"
#include "tests/simulation/consumer_process.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::simulation {

namespace {

class RelayProcess final : public Process {
public:
    explicit RelayProcess(Environment& environment) : environment_(environment) {}

    Result<void> start() override {
        INSTEP_TRY_ASSIGN(
            ports_, ProcessPorts::open(environment_, Role::kRelay, *environment_.source, nullptr));
        const Options& options = environment_.options;
        for (std::uint32_t p = 0; p < options.partitions; ++p) {
            const Partition partition{p, options.partitions};
            scans_.push_back(
                std::make_unique<ScanSource>(std::string(kOwner), partition, environment_.logger,
                                             ScanOptions{.chunk_rows_max = options.chunk_rows_max,
                                                         .digest_rows = options.digest_rows,
                                                         .digests_max = options.digests_max}));
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

class ReplicaProcess final : public ConsumerProcess {
public:
    ReplicaProcess(Environment& environment, ReplicaSite& site)
        : ConsumerProcess(environment, Role::kReplica), site_(site) {}

    Result<void> start() override {
        INSTEP_TRY(open(*site_.database, *site_.replica, kTopic,
                        std::make_unique<ReplicaHandler>(site_.definition, environment().random,
                                                         environment().logger)));
        {
            INSTEP_TRY_ASSIGN(auto connection, site_.database->connect({}));
            INSTEP_TRY_ASSIGN(Transaction transaction,
                              Transaction::begin(*connection, TransactionMode::kWrite));
            INSTEP_TRY(ensure_filled(transaction, site_.definition, environment().random));
            INSTEP_TRY(transaction.commit());
        }
        INSTEP_TRY_ASSIGN(
            relay_,
            Relay::create(*site_.database, ports().broker(), nullptr, environment().logger,
                          RelayOptions{.service = site_.definition.service,
                                       .owner = std::string(environment().scheduler.current_name()),
                                       .partition = {},
                                       .batch_events_max = environment().options.relay_batch_max,
                                       .lease_duration = environment().options.lease}));
        return {};
    }

    Result<std::uint64_t> work() override {
        INSTEP_TRY_ASSIGN(const std::uint64_t relayed, relay_->run_once());
        INSTEP_TRY_ASSIGN(const std::uint64_t consumed, consume());
        return relayed + consumed;
    }

private:
    ReplicaSite& site_;
    std::unique_ptr<Relay> relay_;
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

}  // namespace instep::simulation
