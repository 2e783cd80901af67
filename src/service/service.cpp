#include "instep/service/service.hpp"

#include "flow.hpp"
#include "instep/db/schema.hpp"
#include "instep/telemetry/logger.hpp"
#include "subscriptions.hpp"
#include "upkeep.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace instep {

namespace {

/// Errors: kSchemaMismatch if `apply` has something to do for what the service publishes, or
/// for a replica whose columns are mapped otherwise now.
Result<void> check_in_force(Connection& connection, const ServiceConfig& config) {
    INSTEP_TRY_ASSIGN(const std::uint32_t level, migration_level(connection));
    const std::size_t newest = service_migrations(connection.dialect()).size();
    if (level != newest) {
        return fail(ErrorCode::kSchemaMismatch,
                    fmt::format("the tables instep_* of service {} are at step {}, this program "
                                "needs {}; {}",
                                config.name, level, newest,
                                level < newest ? "run `instep apply`" : "use a newer program"));
    }
    INSTEP_TRY_ASSIGN(auto changes, plan_capture(connection, config.name, config.publish));
    for (const ReplicaDefinition& replica : config.replicas) {
        INSTEP_TRY_ASSIGN(const auto remapped, plan_replica(connection, replica, nullptr));
        changes.insert(changes.end(), remapped.begin(), remapped.end());
    }
    if (!changes.empty()) {
        return fail(ErrorCode::kSchemaMismatch,
                    fmt::format("what {} says of service {} is not in force ({}); run `instep "
                                "apply`",
                                config.path, config.name, changes.front().summary));
    }
    return {};
}

}  // namespace

class Service::Impl {
public:
    Impl(ServiceConfig config, const Surroundings& surroundings)
        : config_(std::move(config)),
          surroundings_(surroundings),
          logger_(surroundings.logger.with({{"service", config_.name}})) {}

    ~Impl() {
        // Without a limit: the threads use what is about to go.
        loops_.clear();
        close();
    }

    Result<void> open() {
        INSTEP_TRY_ASSIGN(database_, open_database(config_.database, surroundings_.clock));
        INSTEP_TRY_ASSIGN(auto connection, database_->connect());
        INSTEP_TRY(check_in_force(*connection, config_));
        INSTEP_TRY_ASSIGN(broker_, surroundings_.brokers.open(config_.broker));
        UpkeepDuties duties{config_, *broker_, {}, {}};
        INSTEP_TRY(add_requests(duties));
        for (const ReplicaDefinition& replica : config_.replicas) {
            INSTEP_TRY(add_replica(*connection, replica, duties));
        }
        INSTEP_TRY(add_relays(duties));
        flows_.push_back(std::make_unique<UpkeepFlow>(std::move(duties), std::move(connection),
                                                      surroundings_.clock));
        for (const auto& flow : flows_) {
            loops_.push_back(std::make_unique<Loop>(
                LoopOptions{.name = flow->name(), .idle = flow->idle()},
                [&flow = *flow](const std::stop_token&) { return flow.run_once(); },
                flow->waiting(), surroundings_.clock, surroundings_.random, logger_));
        }
        return {};
    }

    void start() {
        for (const auto& loop : loops_) {
            loop->start();
        }
    }

    Result<void> stop(std::chrono::milliseconds grace) {
        const auto until = surroundings_.clock.monotonic() + grace;
        for (const auto& loop : loops_) {
            // Asks all of them before it waits for one.
            std::ignore = loop->stop(std::chrono::milliseconds{0});
        }
        for (const auto& loop : loops_) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(
                until - surroundings_.clock.monotonic());
            INSTEP_TRY(loop->stop(std::max(left, std::chrono::milliseconds{0})));
        }
        loops_.clear();
        close();
        return {};
    }

    Result<std::uint64_t> run_once() {
        if (is_closed_) {
            return fail(ErrorCode::kClosed,
                        fmt::format("service {} was stopped; create it again", config_.name));
        }
        std::uint64_t moved = 0;
        std::optional<Error> failure;
        for (const auto& flow : flows_) {
            auto done = flow->run_once();
            if (done) {
                moved += *done;
            } else if (!failure) {
                failure = fail_in(flow->name(), std::move(done).error()).error();
            }
        }
        if (failure) {
            return std::unexpected(*std::move(failure));
        }
        return moved;
    }

    [[nodiscard]] std::vector<FlowStatus> flows() const {
        std::vector<FlowStatus> all;
        all.reserve(flows_.size());
        for (const auto& flow : flows_) {
            all.push_back(flow->status());
        }
        return all;
    }

    [[nodiscard]] const ServiceConfig& config() const noexcept { return config_; }
    [[nodiscard]] Database& database() noexcept { return *database_; }

private:
    Result<void> add_consumer(std::string name, std::unique_ptr<Handler> handler,
                              ConsumerOptions options, UpkeepDuties& duties) {
        options.member = surroundings_.process_id;
        const std::string subscription = options.subscription;
        INSTEP_TRY_ASSIGN(auto consumer,
                          Consumer::create(*database_, *broker_, *handler, surroundings_.random,
                                           logger_, std::move(options)));
        flows_.push_back(std::make_unique<ConsumerFlow>(std::move(name), std::move(handler),
                                                        std::move(consumer)));
        duties.consumers.emplace_back(subscription, flows_.back().get());
        return {};
    }

    Result<void> add_requests(UpkeepDuties& duties) {
        if (config_.publish.empty()) {
            return {};
        }
        ConsumerOptions options;
        options.topic = request_topic(config_);
        options.subscription = options.topic;
        const auto accept = [partitions = config_.partitions](Transaction& transaction,
                                                              const Event& event) {
            return accept_scan_request(transaction, event, partitions);
        };
        return add_consumer("requests",
                            std::make_unique<InboxHandler>(options.subscription, accept, logger_),
                            options, duties);
    }

    /// The subscription stands before rows are asked for, so that no change falls between
    /// the rows and what is received.
    Result<void> add_replica(Connection& connection, const ReplicaDefinition& replica,
                             UpkeepDuties& duties) {
        INSTEP_TRY_ASSIGN(const std::string_view gap, find_gap(connection, replica));
        ConsumerOptions options;
        options.subscription = replica.subscription();
        options.topic = replica.topic;
        // Whatever was published before is in the rows that will be asked for.
        options.start_at = StartAt::kLatest;
        INSTEP_TRY(
            add_consumer(fmt::format("replica {}", replica.table),
                         std::make_unique<ReplicaHandler>(replica, surroundings_.random, logger_),
                         options, duties));
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(connection, TransactionMode::kWrite));
        if (gap.empty()) {
            INSTEP_TRY(ensure_filled(transaction, replica, surroundings_.random));
        } else {
            logger_.warn("service.replica_filled_again",
                         {{"replica", replica.table}, {"reason", gap}});
            INSTEP_TRY(request_backfill(transaction, replica, surroundings_.random));
        }
        return transaction.commit();
    }

    /// Why a replica that was filled missed events that do not come again; empty if it did not.
    Result<std::string_view> find_gap(Connection& connection, const ReplicaDefinition& replica) {
        // Before the own progress, which another process may be moving.
        INSTEP_TRY_ASSIGN(const auto lags, broker_->lag(replica.topic));
        INSTEP_TRY_ASSIGN(const auto standing, list_replicas(connection));
        const auto status = std::ranges::find(standing, replica.table, &ReplicaStatus::table);
        if (status == standing.end()) {
            return "";
        }
        INSTEP_TRY_ASSIGN(const auto progress, list_progress(connection));
        bool is_known = false;
        for (const SubscriptionLag& lag : lags) {
            if (lag.subscription != replica.subscription()) {
                continue;
            }
            is_known = true;
            const auto reached =
                std::ranges::find_if(progress, [&](const SubscriptionProgress& next) {
                    return next.subscription == lag.subscription && next.partition == lag.partition;
                });
            if (broker_->features().stable_positions && reached != progress.end() &&
                lag.acknowledged > reached->position) {
                return "the service's database was restored from a copy";
            }
        }
        return !is_known && status->state == ReplicaState::kLive ? "the broker was replaced" : "";
    }

    /// Also for a service that publishes nothing: its requests leave by its log.
    Result<void> add_relays(UpkeepDuties& duties) {
        for (std::uint32_t index = 0; index < config_.partitions; ++index) {
            const Partition partition{index, config_.partitions};
            auto chunks = std::make_unique<ScanSource>(config_.name, partition, logger_);
            RelayOptions options;
            options.service = config_.name;
            options.owner = surroundings_.process_id;
            options.partition = partition;
            for (const PublishEntry& entry : config_.publish) {
                options.topics.push_back(fmt::format("{}.{}", config_.name, entry.entity));
            }
            INSTEP_TRY_ASSIGN(auto relay, Relay::create(*database_, *broker_, chunks.get(), logger_,
                                                        std::move(options)));
            flows_.push_back(std::make_unique<RelayFlow>(
                config_.partitions == 1 ? "relay" : fmt::format("relay {}", index),
                std::move(chunks), std::move(relay), surroundings_.clock));
            duties.relays.push_back(flows_.back().get());
        }
        return {};
    }

    void close() {
        for (const auto& flow : flows_) {
            flow->close();
        }
        is_closed_ = true;
    }

    const ServiceConfig config_;
    const Surroundings surroundings_;
    Logger logger_;
    std::unique_ptr<Database> database_;
    Broker* broker_ = nullptr;
    std::vector<std::unique_ptr<Flow>> flows_;
    std::vector<std::unique_ptr<Loop>> loops_;
    bool is_closed_ = false;
};

Service::Service(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Service::~Service() = default;

Result<std::unique_ptr<Service>> Service::create(ServiceConfig config,
                                                 const Surroundings& surroundings) {
    auto impl = std::make_unique<Impl>(std::move(config), surroundings);
    INSTEP_TRY(impl->open());
    return std::unique_ptr<Service>(new Service(std::move(impl)));
}

void Service::start() { impl_->start(); }
Result<void> Service::stop(std::chrono::milliseconds grace) { return impl_->stop(grace); }
Result<std::uint64_t> Service::run_once() { return impl_->run_once(); }
std::vector<FlowStatus> Service::flows() const { return impl_->flows(); }
const ServiceConfig& Service::config() const noexcept { return impl_->config(); }
Database& Service::database() noexcept { return impl_->database(); }

}  // namespace instep
