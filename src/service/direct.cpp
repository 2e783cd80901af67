#include "direct.hpp"

#include "instep/consumer/consumer.hpp"
#include "instep/direct/broker.hpp"
#include "instep/log/log.hpp"
#include "instep/replica/scan.hpp"
#include "instep/service/service.hpp"
#include "instep/wal/wal_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace instep {

namespace {

constexpr std::string_view kDirect = "direct:";

Result<std::vector<ServiceConfig>> named_owners(const ServiceConfig& config) {
    std::vector<ServiceConfig> owners;
    std::string_view files = std::string_view(config.broker).substr(kDirect.size());
    while (!files.empty()) {
        const std::size_t end = std::min(files.find(','), files.size());
        INSTEP_TRY_ASSIGN(auto owner, load_service_file(std::string(files.substr(0, end)),
                                                        process_environment()));
        owners.push_back(std::move(owner));
        files.remove_prefix(std::min(end + 1, files.size()));
    }
    return owners;
}

std::vector<std::string> topics_of(const ServiceConfig& config) {
    std::vector<std::string> topics;
    for (const PublishEntry& entry : config.publish) {
        topics.push_back(fmt::format("{}.{}", config.name, entry.entity));
    }
    return topics;
}

Result<DirectOwner> to_owner(const ServiceConfig& config, const Clock& clock, Logger& logger) {
    if (!is_direct(config.broker)) {
        return fail(ErrorCode::kConfigInvalid,
                    fmt::format("{} gives service {} a broker, so its followers need the same one "
                                "and not \"direct:\"",
                                config.path, config.name));
    }
    DirectOwner owner;
    owner.service = config.name;
    INSTEP_TRY_ASSIGN(owner.database, open_database(config.database, clock));
    owner.topics = topics_of(config);
    owner.make_chunks = [service = config.name, rows = config.scan_rows_per_second,
                         &logger](std::string_view subscription) -> std::unique_ptr<ChunkSource> {
        ScanOptions options;
        options.consumer = subscription;
        options.rows_per_second_max = rows;
        return std::make_unique<ScanSource>(service, Partition{}, logger, options);
    };
    return owner;
}

/// The services whose topics it reads.
std::vector<std::string> followed_by(const ServiceConfig& config) {
    std::vector<std::string> owners;
    for (const ReplicaDefinition& replica : config.replicas) {
        owners.push_back(replica.owner());
    }
    for (const SubscriptionEntry& entry : config.subscriptions) {
        owners.push_back(entry.topic.substr(0, entry.topic.find('.')));
    }
    return owners;
}

}  // namespace

bool is_direct(std::string_view broker) { return broker.starts_with(kDirect); }

Result<std::unique_ptr<Broker>> open_direct(const ServiceConfig& config,
                                            std::span<const ServiceConfig> peers,
                                            const Clock& clock, Logger& logger) {
    INSTEP_TRY_ASSIGN(const auto named, named_owners(config));
    DirectOptions options;
    options.service = config.name;
    std::set<std::string> added{config.name};
    INSTEP_TRY_ASSIGN(auto self, to_owner(config, clock, logger));
    options.owners.push_back(std::move(self));
    for (const std::string& followed : followed_by(config)) {
        if (!added.insert(followed).second) {
            continue;
        }
        const ServiceConfig* known = nullptr;
        for (const auto configs : {std::span<const ServiceConfig>(named), peers}) {
            const auto found = std::ranges::find(configs, followed, &ServiceConfig::name);
            known = known == nullptr && found != configs.end() ? &*found : known;
        }
        // Without it, whatever names one of its topics says what is missing.
        if (known != nullptr) {
            INSTEP_TRY_ASSIGN(auto owner, to_owner(*known, clock, logger));
            options.owners.push_back(std::move(owner));
        }
    }
    INSTEP_TRY_ASSIGN(auto database, open_database(config.database, clock));
    options.last_taken =
        [database = std::shared_ptr<Database>(std::move(database))](
            std::string_view subscription) -> Result<std::optional<LastPublished>> {
        INSTEP_TRY_ASSIGN(const auto connection, database->connect());
        return last_taken(*connection, subscription, 0);
    };
    return open_direct_broker(std::move(options), clock, logger);
}

LogReader::Open requests_reader(std::string service) {
    return [own = std::move(service) + "."](Connection& connection, LogReaderOptions options,
                                            ChunkSource* chunks) {
        options.reads_topic = [own](std::string_view topic) { return !topic.starts_with(own); };
        return LogReader::open(connection, std::move(options), chunks);
    };
}

Result<void> end_direct_reading(Connection& connection, const ServiceConfig& config) {
    INSTEP_TRY_ASSIGN(const auto readers, list_readers(connection, kDirectReaderPrefix));
    if (readers.empty()) {
        return {};
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY(begin_epoch(transaction, 0));
    INSTEP_TRY(announce_epoch(transaction, config.name, topics_of(config)));
    INSTEP_TRY(remove_readers(transaction, kDirectReaderPrefix));
    return transaction.commit();
}

Result<void> refuse_wal(Connection& connection, const ServiceConfig& config) {
    if (connection.dialect().name() != "postgres") {
        return {};
    }
    INSTEP_TRY_ASSIGN(const auto slot, read_wal_slot(connection, config.wal_budget_mib << 20U));
    if (slot) {
        return fail(ErrorCode::kSchemaMismatch,
                    fmt::format("the write-ahead log of {} is not read to its end yet, and only a "
                                "relay reads it; run the service with its broker until `instep "
                                "status` shows no slot",
                                config.name));
    }
    return {};
}

}  // namespace instep
