#include "tests/simulation/processes.hpp"

#include "instep/consumer/consumer.hpp"
#include "instep/relay/relay.hpp"
#include "instep/replica/scan.hpp"

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

/// A consumer of one subscription.
class ConsumerProcess : public Process {
protected:
    ConsumerProcess(Environment& environment, Role role) : environment_(environment), role_(role) {}

    Result<void> open(SimDatabase& database, SubscriptionWatch& watch, std::string_view topic,
                      std::unique_ptr<Handler> handler) {
        INSTEP_TRY_ASSIGN(ports_, ProcessPorts::open(environment_, role_, database, &watch));
        handlers_.push_back(std::move(handler));
        const PlantedBug* bug = environment_.bug;
        if (bug != nullptr && bug->role == role_ && bug->handler) {
            handlers_.push_back(bug->handler(*handlers_.back()));
        }
        const Options& options = environment_.options;
        INSTEP_TRY_ASSIGN(
            consumer_,
            Consumer::create(
                ports_->database(), ports_->broker(), *handlers_.back(), environment_.random,
                environment_.logger,
                ConsumerOptions{.subscription = watch.subscription(),
                                .topic = std::string(topic),
                                .member = std::string(environment_.scheduler.current_name()),
                                .batch_events_max = options.consumer_batch_max,
                                .lanes = options.lanes,
                                .parked_backoff = {.initial = options.parked_delay,
                                                   .max = options.parked_delay * 8},
                                .member_timeout = options.member_timeout}));
        return {};
    }

    Result<std::uint64_t> consume() { return consumer_->run_once(); }
    [[nodiscard]] Environment& environment() const { return environment_; }
    [[nodiscard]] ProcessPorts& ports() const { return *ports_; }

private:
    Environment& environment_;
    Role role_;
    std::unique_ptr<ProcessPorts> ports_;
    std::vector<std::unique_ptr<Handler>> handlers_;
    std::unique_ptr<Consumer> consumer_;
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

class EffectsProcess final : public ConsumerProcess {
public:
    EffectsProcess(Environment& environment, ReplicaSite& site)
        : ConsumerProcess(environment, Role::kEffects), site_(site) {}

    Result<void> start() override {
        return open(*site_.database, *site_.effects, kTopic,
                    std::make_unique<InboxHandler>(
                        site_.effects->subscription(),
                        [this](Transaction& transaction, const Event& event) {
                            return take_effect(transaction, event);
                        },
                        environment().logger));
    }

    Result<std::uint64_t> work() override { return consume(); }

private:
    Verdict take_effect(Transaction& transaction, const Event& event) {
        if (event.operation == Operation::kChunk || event.operation == Operation::kDigest) {
            return Verdict::done();
        }
        if (must_fail(event)) {
            return Verdict::retry("simulated: the handler fails");
        }
        const auto added = transaction.execute(
            "INSERT INTO effects (key, seq) VALUES ($1, $2)",
            {std::string_view(event.key), static_cast<std::int64_t>(event.version.batch)});
        return added ? Verdict::done() : Verdict::retry(added.error().message);
    }

    /// A consumer tries an event several times before it sets it aside, and again later.
    bool must_fail(const Event& event) {
        auto [failures, first] = site_.failures_left.try_emplace(event.id, 0);
        if (first && environment().chaos.strikes(&Faults::handler_failure)) {
            failures->second = 1 + static_cast<std::uint32_t>(environment().random.below(8));
        }
        if (failures->second == 0 || !environment().operating) {
            return false;
        }
        --failures->second;
        return true;
    }

    ReplicaSite& site_;
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

std::unique_ptr<Process> make_effects_consumer(Environment& environment, ReplicaSite& site) {
    return std::make_unique<EffectsProcess>(environment, site);
}

}  // namespace instep::simulation
