#include "backend.hpp"

#include "direct.hpp"
#include "instep/base/random.hpp"
#include "instep/broker/embedded/broker.hpp"
#include "instep/broker/kafka/broker.hpp"
#include "instep/broker/rabbitmq/broker.hpp"
#include "instep/broker/redis/broker.hpp"
#include "instep/db/postgres/database.hpp"
#include "instep/db/sqlite/database.hpp"
#include "instep/service/service.hpp"
#include "instep/telemetry/log_sink.hpp"
#include "instep/telemetry/logger.hpp"
#include "instep/telemetry/redact.hpp"
#include "instep/wal/wal_capture.hpp"
#include "instep/wal/wal_reader.hpp"
#include "subscriptions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>

namespace instep {

namespace {

constexpr std::string_view kSqlite = "sqlite:";
constexpr std::string_view kEmbedded = "embedded:";
constexpr std::string_view kKafka = "kafka://";

bool is_redis(std::string_view url) {
    return url.starts_with("redis://") || url.starts_with("rediss://");
}

bool is_amqp(std::string_view url) {
    return url.starts_with("amqp://") || url.starts_with("amqps://");
}

std::unexpected<Error> unknown_scheme(std::string_view what, std::string_view url,
                                      std::string_view known) {
    return fail(ErrorCode::kConfigInvalid,
                fmt::format("{} \"{}\" cannot be opened; this program knows {}", what,
                            redact_url(url), known));
}

}  // namespace

Result<std::vector<SchemaChange>> plan_capture_in_force(Connection& connection,
                                                        const ServiceConfig& config) {
    return config.capture == CaptureBy::kWal
               ? plan_wal_capture(connection, config.name, config.publish)
               : plan_trigger_capture(connection, config.name, config.publish);
}

LogReader::Open log_reader(const ServiceConfig& config, Database& database, const Clock& clock,
                           Logger& logger) {
    if (!is_postgres(config.database)) {
        return &LogReader::open;
    }
    // Also while triggers capture: the write-ahead log may have to be read to its end before.
    WalReaderOptions options;
    options.url = config.database;
    options.budget_bytes = config.wal_budget_mib << 20U;
    options.topics = published_topics(config);
    return wal_reader(database, std::move(options), clock, logger);
}

bool is_postgres(std::string_view url) {
    return url.starts_with("postgresql://") || url.starts_with("postgres://");
}

std::string path_of(std::string_view url) {
    url.remove_prefix(url.find(':') + 1);
    if (url.starts_with("///")) {
        url.remove_prefix(2);
    }
    return std::string(url);
}

Result<std::unique_ptr<Database>> open_database(const std::string& url, const Clock& clock,
                                                MissingDatabase missing) {
    if (is_postgres(url)) {
        return open_postgres(url, clock);
    }
    if (!url.starts_with(kSqlite)) {
        return unknown_scheme("database", url, "sqlite:PATH and postgresql://…");
    }
    SqliteOptions options;
    options.create =
        missing == MissingDatabase::kCreate ? SqliteCreate::kIfMissing : SqliteCreate::kNever;
    return open_sqlite(url, clock, options);
}

class Brokers::Impl {
public:
    explicit Impl(const Clock& clock) : clock_(clock) {}

    void know(std::span<const ServiceConfig> services) {
        const std::scoped_lock lock(mutex_);
        for (const ServiceConfig& service : services) {
            if (std::ranges::find(known_, service.name, &ServiceConfig::name) == known_.end()) {
                known_.push_back(service);
            }
        }
    }

    Result<Broker*> open(const ServiceConfig& service, Logger* logger) {
        if (!is_direct(service.broker)) {
            return open(service.broker);
        }
        const std::scoped_lock lock(mutex_);
        Logger& told = logger == nullptr ? silent_ : *logger;
        std::unique_ptr<Broker>& broker = direct_[{service.name, &told}];
        if (broker == nullptr) {
            INSTEP_TRY_ASSIGN(broker, open_direct(service, known_, clock_, told));
        }
        return broker.get();
    }

    Result<Broker*> open(const std::string& url) {
        const std::scoped_lock lock(mutex_);
        if (is_redis(url)) {
            return keep(url, [&] { return open_redis_broker(url, clock_, random_); });
        }
        if (is_amqp(url)) {
            return keep(url, [&] { return open_rabbitmq_broker(url, clock_, random_); });
        }
        if (url.starts_with(kKafka)) {
            return keep(url, [&] { return open_kafka_broker(url); });
        }
        if (!url.starts_with(kEmbedded)) {
            return unknown_scheme("broker", url,
                                  "embedded:PATH, redis://…, amqp://…, kafka://… and direct:");
        }
        const std::string path = path_of(url);
        return keep(path, [&]() -> Result<std::unique_ptr<Broker>> {
            INSTEP_TRY_ASSIGN(auto database, open_sqlite(path, clock_));
            databases_.push_back(std::move(database));
            return open_embedded_broker(*databases_.back(), clock_);
        });
    }

private:
    /// The broker that is open under `name`, or what `open` makes.
    Result<Broker*> keep(const std::string& name, const auto& open) {
        const auto known = open_.find(name);
        if (known != open_.end()) {
            return known->second.get();
        }
        INSTEP_TRY_ASSIGN(auto broker, open());
        return open_.emplace(name, std::move(broker)).first->second.get();
    }

    /// Writes nowhere.
    class Silence final : public LogSink {
        void write(std::string_view /*line*/) override {}
    };

    const Clock& clock_;
    SystemRandom random_;
    Silence silence_;
    Logger silent_{silence_, clock_, {.level = LogLevel::kError}};
    std::mutex mutex_;
    std::vector<std::unique_ptr<Database>> databases_;
    std::map<std::string, std::unique_ptr<Broker>> open_;
    std::vector<ServiceConfig> known_;

    /// By the service and who is told.
    std::map<std::pair<std::string, const Logger*>, std::unique_ptr<Broker>> direct_;
};

Brokers::Brokers(const Clock& clock) : impl_(std::make_unique<Impl>(clock)) {}
Brokers::~Brokers() = default;

void Brokers::know(std::span<const ServiceConfig> services) { impl_->know(services); }
Result<Broker*> Brokers::open(const std::string& url) { return impl_->open(url); }
Result<Broker*> Brokers::open(const ServiceConfig& service, Logger* logger) {
    return impl_->open(service, logger);
}

}  // namespace instep
