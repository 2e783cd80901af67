#include "instep/service/service.hpp"

#include "backend.hpp"
#include "broker_homes.hpp"
#include "check_postgres.hpp"
#include "direct.hpp"
#include "flow.hpp"
#include "instep/db/schema.hpp"
#include "instep/replica/replica_group.hpp"
#include "instep/service/monitor.hpp"
#include "instep/telemetry/logger.hpp"
#include "lag_metrics.hpp"
#include "subscriptions.hpp"
#include "upkeep.hpp"
#include "watches.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <tuple>

namespace instep {

namespace {

/// A relay that carries requests only is in no hurry, and a look costs the owner a commit.
constexpr std::chrono::milliseconds kRequestsWait{50};

/// Errors: kSchemaMismatch if `apply` has something to do for what the service publishes, or
/// for a replica whose columns are mapped otherwise now; kPermissionDenied.
Result<void> check_in_force(Connection& connection, const ServiceConfig& config) {
    if (is_postgres(config.database)) {
        INSTEP_TRY(refuse_missing_rights(connection, config));
    }
    INSTEP_TRY(check_service_tables(connection));
    INSTEP_TRY_ASSIGN(auto changes, plan_capture_in_force(connection, config));
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

/// As OpenTelemetry calls the broker, where it has a name for it.
std::string messaging_system(const ServiceConfig& config) {
    return config.broker.starts_with("kafka:") ? "kafka"
           : config.broker.starts_with("amqp") ? "rabbitmq"
                                               : "instep";
}

/// Errors: kConfigInvalid if code and file do not name the same subscriptions.
Result<void> check_handlers(const ServiceConfig& config, const Handlers& handlers) {
    for (const SubscriptionEntry& entry : config.subscriptions) {
        if (!handlers.contains(entry.name)) {
            return fail(ErrorCode::kConfigInvalid,
                        fmt::format("subscription \"{}\" of {} needs code, which this program "
                                    "does not have; run the service's own program",
                                    entry.name, config.path));
        }
    }
    for (const auto& [name, set] : handlers) {
        if (std::ranges::find(config.subscriptions, name, &SubscriptionEntry::name) ==
            config.subscriptions.end()) {
            return fail(ErrorCode::kConfigInvalid,
                        fmt::format("{} has no [[subscription]] named \"{}\", for which this "
                                    "program has code; add it",
                                    config.path, name));
        }
    }
    return {};
}

}  // namespace

class Service::Impl {
public:
    Impl(ServiceConfig config, const Surroundings& surroundings, Handlers handlers)
        : config_(std::move(config)),
          surroundings_(surroundings),
          handlers_(std::move(handlers)),
          logger_(surroundings.logger.with({{"service", config_.name}})),
          own_monitor_(surroundings.monitor != nullptr
                           ? nullptr
                           : std::make_unique<Monitor>(surroundings.clock, surroundings.random,
                                                       logger_, surroundings.process_id)),
          monitor_(surroundings.monitor != nullptr ? *surroundings.monitor : *own_monitor_),
          telemetry_{.service = config_.name,
                     .clock = surroundings.clock,
                     .random = surroundings.random,
                     .metrics = monitor_.metrics(),
                     .messaging_system = messaging_system(config_)} {}

    ~Impl() {
        // Without a limit: the threads use what is about to go.
        loops_.clear();
        close();
    }

    Result<void> open() {
        INSTEP_TRY(check_handlers(config_, handlers_));
        INSTEP_TRY_ASSIGN(const auto contract, load_publish_contract(config_));
        for (auto& [name, set] : handlers_) {
            if (contract) {
                set.publishes(*contract);
            }
        }
        if (!config_.otlp.empty()) {
            INSTEP_TRY_ASSIGN(telemetry_.spans, monitor_.spans_to(config_.otlp));
        }
        INSTEP_TRY_ASSIGN(database_, open_database(config_.database, surroundings_.clock));
        INSTEP_TRY_ASSIGN(auto connection, database_->connect());
        INSTEP_TRY(check_in_force(*connection, config_));
        INSTEP_TRY(refuse_other_partitions(*connection, kRelayReader, config_.partitions));
        if (is_direct(config_.broker)) {
            INSTEP_TRY(refuse_wal(*connection, config_));
            INSTEP_TRY_ASSIGN(broker_, surroundings_.brokers.open(config_, &logger_));
            publishing_broker_ = broker_;
        } else {
            INSTEP_TRY(end_direct_reading(*connection, config_));
            INSTEP_TRY(find_brokers(*connection));
        }
        UpkeepDuties duties{config_, *broker_, lag_metrics_, monitor_.metrics(), {}, {}, {}};
        duties.look = [this](Connection& upkeep) { return look_for_move(upkeep); };
        INSTEP_TRY(add_requests(duties));
        for (const ReplicaDefinition& replica : config_.replicas) {
            if (replica.apply == ApplyUnit::kKey) {
                INSTEP_TRY(add_replica(*connection, replica, duties));
            }
        }
        for (const auto& [topic, group] : replica_groups(config_)) {
            INSTEP_TRY(add_group(*connection, topic, group, duties));
        }
        for (const SubscriptionEntry& entry : config_.subscriptions) {
            INSTEP_TRY(add_subscription(entry, duties));
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
        watch_.emplace(monitor_.watches(), WatchedService{config_.name, [this] { return flows(); },
                                                          [this] { lag_metrics_.measure(); }});
        if (!config_.listen.empty()) {
            INSTEP_TRY(monitor_.listen(config_.listen));
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

    [[nodiscard]] bool has_moved() const noexcept { return has_moved_; }

private:
    Result<void> find_brokers(Connection& connection) {
        INSTEP_TRY_ASSIGN(homes_, find_homes(connection, config_));
        INSTEP_TRY_ASSIGN(broker_, surroundings_.brokers.open(homes_->reads_from));
        INSTEP_TRY_ASSIGN(publishing_broker_, surroundings_.brokers.open(homes_->publishes_to));
        if (homes_->stage) {
            logger_.warn("service.is_moving",
                         {{"stage", to_string(*homes_->stage)},
                          {"publishes_to", publishing_broker_->display_url()},
                          {"reads_from", broker_->display_url()},
                          {"advice", "once it has moved, name the new broker in the file"}});
        }
        return {};
    }

    Result<void> look_for_move(Connection& connection) {
        if (!homes_) {
            return {};
        }
        INSTEP_TRY_ASSIGN(const bool gone, has_gone_on(connection, config_, *homes_));
        has_moved_ = has_moved_ || gone;
        return {};
    }

    Result<void> add_consumer(std::string name, std::unique_ptr<Handler> handler,
                              ConsumerOptions options, UpkeepDuties& duties) {
        options.member = surroundings_.process_id;
        options.telemetry = &telemetry_;
        if (homes_) {
            options.condition = still_reads(config_, *homes_);
        }
        const std::string subscription = options.subscription;
        INSTEP_TRY_ASSIGN(auto consumer,
                          Consumer::create(*database_, *broker_, *handler, surroundings_.random,
                                           logger_, std::move(options)));
        flows_.push_back(std::make_unique<ConsumerFlow>(std::move(name), std::move(handler),
                                                        std::move(consumer), surroundings_.clock));
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

    Result<void> add_subscription(const SubscriptionEntry& entry, UpkeepDuties& duties) {
        const ConsumerOptions options = consumer_options(config_, entry);
        return add_consumer(
            fmt::format("subscription {}", entry.name),
            std::make_unique<SubscriptionHandler>(options.subscription, handlers_.at(entry.name),
                                                  surroundings_.random, logger_, entry.slow_after,
                                                  HandlerTelemetry{telemetry_, entry.topic}),
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
            INSTEP_TRY(fill_again(transaction, replica, gap));
        }
        return transaction.commit();
    }

    /// The same for replicas that take in whole transactions together.
    Result<void> add_group(Connection& connection, const std::string& topic,
                           const std::vector<ReplicaDefinition>& group, UpkeepDuties& duties) {
        std::vector<std::string_view> gaps;
        for (const ReplicaDefinition& replica : group) {
            INSTEP_TRY_ASSIGN(gaps.emplace_back(), find_gap(connection, replica));
        }
        ConsumerOptions options;
        options.subscription = group.front().subscription();
        options.topic = topic;
        options.start_at = StartAt::kLatest;
        options.unit = ApplyUnit::kTransaction;
        INSTEP_TRY(add_consumer(
            fmt::format("replicas of {}", group.front().owner()),
            std::make_unique<ReplicaGroupHandler>(group, surroundings_.random, logger_), options,
            duties));
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(connection, TransactionMode::kWrite));
        for (std::size_t i = 0; i < group.size(); ++i) {
            if (!gaps[i].empty()) {
                INSTEP_TRY(fill_again(transaction, group[i], gaps[i]));
            }
        }
        INSTEP_TRY(ensure_group_filled(transaction, group, surroundings_.random));
        return transaction.commit();
    }

    Result<void> fill_again(Transaction& transaction, const ReplicaDefinition& replica,
                            std::string_view reason) {
        logger_.warn("service.replica_filled_again",
                     {{"replica", replica.table}, {"reason", reason}});
        INSTEP_TRY(request_backfill(transaction, replica, surroundings_.random));
        return {};
    }

    /// The service has been moved since it was opened, and positions are those of the next broker:
    /// whoever opens it next compares them.
    Result<bool> has_another_home(Connection& connection) {
        if (!homes_) {
            return false;
        }
        INSTEP_TRY_ASSIGN(const BrokerHomes now, find_homes(connection, config_));
        return now.reads_from != homes_->reads_from;
    }

    /// Why a replica that was filled missed events that do not come again; empty if it did not.
    Result<std::string_view> find_gap(Connection& connection, const ReplicaDefinition& replica) {
        // Before the own progress, which another process may be moving.
        INSTEP_TRY_ASSIGN(const auto lags, broker_->lag(replica.source_topic()));
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
                INSTEP_TRY_ASSIGN(const bool moves, has_another_home(connection));
                return moves ? "" : "the service's database was restored from a copy";
            }
        }
        // A backfill under way was asked for elsewhere, and comes there.
        const bool had_rows =
            status->state == ReplicaState::kLive || status->state == ReplicaState::kFilling;
        return !is_known && had_rows ? "the broker was replaced" : "";
    }

    /// Also for a service that publishes nothing: its requests leave by its log.
    Result<void> add_relays(UpkeepDuties& duties) {
        if (is_direct(config_.broker)) {
            return add_relay(Partition{}, duties);
        }
        for (std::uint32_t index = 0; index < config_.partitions; ++index) {
            INSTEP_TRY(add_relay(Partition{index, config_.partitions}, duties));
        }
        return {};
    }

    Result<void> add_relay(Partition partition, UpkeepDuties& duties) {
        RelayOptions options;
        options.service = config_.name;
        options.owner = surroundings_.process_id;
        options.partition = partition;
        options.telemetry = &telemetry_;
        std::unique_ptr<ChunkSource> chunks;
        IdleOptions idle;
        if (is_direct(config_.broker)) {
            // Followers read the log themselves, and have chunks of their own read for them.
            options.open_reader = requests_reader(config_.name);
            options.is_told_of_appends = false;
            idle.alert_wait = kRequestsWait;
        } else {
            chunks = std::make_unique<ScanSource>(
                config_.name, partition, logger_,
                ScanOptions{.rows_per_second_max = config_.scan_rows_per_second,
                            .transactions = config_.transactions});
            options.topics = published_topics(config_);
            for (const std::string& entity : config_.transactions) {
                options.transactions.push_back(fmt::format("{}.{}", config_.name, entity));
            }
            options.open_reader = log_reader(config_, *database_, surroundings_.clock, logger_);
            options.is_told_of_appends = config_.capture == CaptureBy::kTriggers;
            options.condition = still_publishes(config_, *homes_);
        }
        INSTEP_TRY_ASSIGN(auto relay, Relay::create(*database_, *publishing_broker_, chunks.get(),
                                                    logger_, std::move(options)));
        flows_.push_back(std::make_unique<RelayFlow>(
            partition.count == 1 ? "relay" : fmt::format("relay {}", partition.index), idle,
            std::move(chunks), std::move(relay), surroundings_.clock));
        duties.relays.push_back(flows_.back().get());
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
    Handlers handlers_;
    Logger logger_;
    const std::unique_ptr<Monitor> own_monitor_;
    Monitor& monitor_;
    Telemetry telemetry_;
    LagMetrics lag_metrics_{telemetry_};
    std::unique_ptr<Database> database_;

    /// Nothing without a broker.
    std::optional<BrokerHomes> homes_;

    /// What is read, and what is published to; the same but on the way to another one.
    Broker* broker_ = nullptr;
    Broker* publishing_broker_ = nullptr;
    std::atomic<bool> has_moved_ = false;
    std::vector<std::unique_ptr<Flow>> flows_;
    std::vector<std::unique_ptr<Loop>> loops_;
    bool is_closed_ = false;

    /// Gone before what it shows.
    std::optional<Watches::Watch> watch_;
};

Service::Service(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Service::~Service() = default;

Result<std::unique_ptr<Service>> Service::create(ServiceConfig config,
                                                 const Surroundings& surroundings,
                                                 Handlers handlers) {
    auto impl = std::make_unique<Impl>(std::move(config), surroundings, std::move(handlers));
    INSTEP_TRY(impl->open());
    return std::unique_ptr<Service>(new Service(std::move(impl)));
}

void Service::start() { impl_->start(); }
Result<void> Service::stop(std::chrono::milliseconds grace) { return impl_->stop(grace); }
Result<std::uint64_t> Service::run_once() { return impl_->run_once(); }
std::vector<FlowStatus> Service::flows() const { return impl_->flows(); }
bool Service::has_moved() const noexcept { return impl_->has_moved(); }
const ServiceConfig& Service::config() const noexcept { return impl_->config(); }
Database& Service::database() noexcept { return impl_->database(); }

}  // namespace instep
