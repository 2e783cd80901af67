#include "demo_system.hpp"

#include "instep/log/log.hpp"
#include "instep/log/reader.hpp"
#include "output.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <malloc.h>
#include <sqlite3.h>

#include <algorithm>
#include <fcntl.h>
#include <thread>
#include <unistd.h>

namespace instep::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto kStalledAfter = 30s;

/// The demo's own looks are at few pages, and its memory is to stay small.
constexpr ConnectOptions kSmallConnection{.cache_kib = 256};

/// Four services in one process have thirty connections. Their page caches together stay below
/// the limit, and the large buffers of batches go back to the system when they are freed.
void keep_memory_small() {
    constexpr std::int64_t kPageCacheBytes = 16 << 20;
    constexpr int kLargeBytes = 512 << 10;
    ::sqlite3_soft_heap_limit64(kPageCacheBytes);
    ::mallopt(M_MMAP_THRESHOLD, kLargeBytes);
}

Result<std::uint64_t> log_head(Connection& iam) {
    INSTEP_TRY_ASSIGN(auto row, iam.query("SELECT coalesce(max(seq), 0) FROM instep_log", {}));
    INSTEP_TRY(row->next());
    return static_cast<std::uint64_t>(row->integer(0));
}

}  // namespace

bool SystemLook::is_live() const {
    return std::ranges::all_of(
        replicas, [](const ReplicaLook& replica) { return replica.state == ReplicaState::kLive; });
}

bool SystemLook::is_caught_up() const {
    return is_live() && published == committed &&
           std::ranges::all_of(replicas,
                               [](const ReplicaLook& replica) { return replica.lag == 0; });
}

DemoSystem::LogFile::LogFile(const std::string& path)
    : descriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {}

DemoSystem::LogFile::~LogFile() { ::close(descriptor); }

DemoSystem::DemoSystem(Context& context, DemoDatabases databases, DemoFolder folder,
                       std::uint64_t rows)
    : context_(context),
      databases_(std::move(databases)),
      folder_(std::move(folder)),
      start_rows_(rows),
      log_(folder_.file("demo.log")),
      log_sink_(log_.descriptor),
      logger_(log_sink_, context.clock),
      brokers_(context.clock) {}

Result<std::unique_ptr<DemoSystem>> DemoSystem::prepare(Context& context, const DemoPlace& place,
                                                        std::uint64_t rows) {
    keep_memory_small();
    if (place.broker != "embedded:" && place.broker != "direct:") {
        // Before anything is made.
        INSTEP_TRY(Brokers(context.clock).open(place.broker));
    }
    INSTEP_TRY_ASSIGN(DemoDatabases databases, DemoDatabases::create(place, context.clock));
    INSTEP_TRY_ASSIGN(DemoFolder folder, DemoFolder::claim(place.directory));
    INSTEP_TRY(folder.write_service_files(databases.urls(), place.broker));
    std::unique_ptr<DemoSystem> system(
        new DemoSystem(context, std::move(databases), std::move(folder), rows));
    INSTEP_TRY_ASSIGN(system->configs_, load_services(system->folder_.service_files()));
    INSTEP_TRY(system->make_tables());
    INSTEP_TRY(apply_services(system->configs_, context.clock));
    INSTEP_TRY(system->connect());
    return system;
}

Result<void> DemoSystem::make_tables() {
    const auto open = [this](std::size_t config) {
        return open_database(configs_[config].database, context_.clock, MissingDatabase::kCreate);
    };
    INSTEP_TRY_ASSIGN(const auto iam_database, open(0));
    INSTEP_TRY_ASSIGN(const auto iam, iam_database->connect({.durability = Durability::kProcess}));
    INSTEP_TRY(
        make_users(*iam, start_rows_, context_.clock, context_.random, [this](std::uint64_t made) {
            context_.output.progress(
                fmt::format("making users: {} of {}", grouped(made), grouped(start_rows_)));
        }));
    INSTEP_TRY_ASSIGN(const auto data_owner_database, open(1));
    INSTEP_TRY_ASSIGN(const auto data_owner, data_owner_database->connect());
    return make_resources(*data_owner, *iam, context_.clock, context_.random);
}

Result<void> DemoSystem::connect() {
    const ServiceConfig& owner = configs_.front();
    INSTEP_TRY_ASSIGN(iam_database_, open_database(owner.database, context_.clock));
    INSTEP_TRY_ASSIGN(iam_, iam_database_->connect(kSmallConnection));
    INSTEP_TRY_ASSIGN(broker_, brokers_.open(owner));
    for (const ServiceConfig& config : configs_) {
        for (const ReplicaDefinition& definition : config.replicas) {
            INSTEP_TRY_ASSIGN(const auto database, open_database(config.database, context_.clock));
            INSTEP_TRY_ASSIGN(auto connection, database->connect(kSmallConnection));
            replicas_.push_back({config.name, definition, std::move(connection)});
        }
    }
    return {};
}

Result<void> DemoSystem::start(std::span<const std::string_view> services) {
    std::vector<ServiceConfig> configs;
    std::ranges::copy_if(configs_, std::back_inserter(configs), [&](const ServiceConfig& config) {
        return std::ranges::find(services, config.name) != services.end();
    });
    INSTEP_TRY_ASSIGN(auto group, ServiceGroup::create(std::move(configs), context_.clock,
                                                       context_.random, logger_));
    group->start();
    groups_.push_back(std::move(group));
    return {};
}

Result<void> DemoSystem::start_all() {
    std::vector<std::string_view> names;
    std::ranges::transform(configs_, std::back_inserter(names), &ServiceConfig::name);
    return start(names);
}

Result<void> DemoSystem::stop() {
    for (const auto& group : groups_) {
        INSTEP_TRY(group->stop());
    }
    groups_.clear();
    return {};
}

Result<void> DemoSystem::stop(std::string_view service) {
    const auto group =
        std::ranges::find_if(groups_, [service](const auto& each) { return each->holds(service); });
    if (group != groups_.end()) {
        INSTEP_TRY((*group)->stop());
        groups_.erase(group);
    }
    return {};
}

Result<void> DemoSystem::close() {
    INSTEP_TRY(stop());
    replicas_.clear();
    iam_.reset();
    return databases_.drop();
}

std::string DemoSystem::iam_shell() const {
    return databases_.are_on_server() ? fmt::format("psql {} -c", iam_database_->display_url())
                                      : fmt::format("sqlite3 {}", folder_.file("iam.db"));
}

Result<std::unique_ptr<DemoWriter>> DemoSystem::make_writer(DemoWriterOptions options) {
    options.first_number = start_rows_;
    return DemoWriter::create(*iam_database_, context_.clock, context_.random, logger_,
                              std::move(options));
}

Result<std::unique_ptr<LatencyProbe>> DemoSystem::make_probe() {
    std::vector<WatchedReplica> watched;
    for (std::size_t i = 0; i < replicas_.size(); ++i) {
        INSTEP_TRY_ASSIGN(const auto database,
                          open_database(configs_[i + 1].database, context_.clock));
        INSTEP_TRY_ASSIGN(auto connection, database->connect(kSmallConnection));
        watched.push_back({replicas_[i].definition, std::move(connection)});
    }
    return std::make_unique<LatencyProbe>(std::move(watched), context_.clock, context_.random,
                                          logger_);
}

Result<SystemLook> DemoSystem::look() {
    SystemLook look;
    // The head first: what is committed between the two reads must not seem published.
    INSTEP_TRY_ASSIGN(look.committed, log_head(*iam_));
    // Without a broker a change is published when it is in the log.
    LogLag unpublished;
    if (!configs_.front().broker.starts_with("direct:")) {
        INSTEP_TRY_ASSIGN(unpublished, log_lag(*iam_, "relay"));
    }
    look.published = look.committed - std::min(look.committed, unpublished.events);
    INSTEP_TRY_ASSIGN(const auto lags, broker_->lag(configs_[1].replicas.front().topic));
    for (const DemoReplica& replica : replicas_) {
        INSTEP_TRY_ASSIGN(auto replica_look, look_at(replica, unpublished.events, lags));
        look.replicas.push_back(std::move(replica_look));
    }
    return look;
}

Result<ReplicaLook> DemoSystem::look_at(const DemoReplica& replica, std::uint64_t unpublished,
                                        std::span<const SubscriptionLag> lags) {
    ReplicaLook look;
    look.name = replica.service;
    look.lag = unpublished;
    const std::string subscription = replica.definition.subscription();
    for (const SubscriptionLag& lag : lags) {
        look.lag += lag.subscription == subscription ? lag.events : 0;
    }
    INSTEP_TRY_ASSIGN(const auto standing, list_replicas(*replica.connection));
    for (const ReplicaStatus& status : standing) {
        look.state = status.state;
        look.filled_rows = status.filled_rows;
    }
    INSTEP_TRY_ASSIGN(const auto progress, list_progress(*replica.connection));
    for (const SubscriptionProgress& partition : progress) {
        look.counts += partition.counts;
    }
    INSTEP_TRY_ASSIGN(const auto parked, list_parked_keys(*replica.connection, subscription, 1000));
    look.parked_keys = parked.size();
    for (const ParkedKey& key : parked) {
        look.parked_events += key.events;
    }
    return look;
}

Result<SystemLook> DemoSystem::wait_until_caught_up() {
    constexpr auto kPause = 20ms;
    std::uint64_t last_seen = 0;
    auto last_moved = context_.clock.monotonic();
    for (;;) {
        INSTEP_TRY_ASSIGN(SystemLook look, this->look());
        if (look.is_caught_up()) {
            return look;
        }
        std::uint64_t seen = look.published;
        for (const ReplicaLook& replica : look.replicas) {
            seen += replica.filled_rows + replica.counts.applied - replica.lag;
        }
        const auto now = context_.clock.monotonic();
        last_moved = seen == last_seen ? last_moved : now;
        last_seen = seen;
        if (now - last_moved > kStalledAfter) {
            return fail(ErrorCode::kTimeout,
                        fmt::format("the replicas have not caught up, and nothing moves: {}",
                                    fmt::join(failures(), "; ")));
        }
        std::this_thread::sleep_for(kPause);
    }
}

std::vector<std::string> DemoSystem::failures() const {
    std::vector<std::string> all;
    for (const auto& group : groups_) {
        std::ranges::move(group->failures(), std::back_inserter(all));
    }
    return all;
}

}  // namespace instep::cli
