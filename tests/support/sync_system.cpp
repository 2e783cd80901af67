#include "tests/support/sync_system.hpp"

#include "instep/broker/embedded/broker.hpp"
#include "instep/db/postgres/database.hpp"
#include "instep/db/schema.hpp"
#include "instep/db/sqlite/database.hpp"
#include "instep/wal/wal_capture.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace instep::test {

namespace {

/// Set-up that fails is a broken test, not a result.
template <class T>
T must(Result<T> result) {
    if (!result) {
        throw std::runtime_error(result.error().message);
    }
    if constexpr (!std::is_void_v<T>) {
        return std::move(*result);
    }
}

std::string shown(const ValueView& value) {
    struct Visitor {
        std::string operator()(std::monostate) const { return "NULL"; }
        std::string operator()(std::int64_t number) const { return fmt::format("{}", number); }
        std::string operator()(double number) const { return fmt::format("{}", number); }
        std::string operator()(std::string_view text) const { return std::string(text); }
        std::string operator()(BlobView blob) const {
            return fmt::format("x{:02X}", fmt::join(blob.bytes, ""));
        }
    };
    return std::visit(Visitor{}, value);
}

}  // namespace

std::vector<std::string> rows_of(Connection& connection, std::string_view sql) {
    auto rows = must(connection.query(sql, {}));
    std::vector<std::string> shown_rows;
    while (must(rows->next())) {
        std::string line;
        for (std::size_t i = 0; i < rows->column_count(); ++i) {
            line += (i == 0 ? "" : "|") + shown(rows->at(i));
        }
        shown_rows.push_back(std::move(line));
    }
    return shown_rows;
}

std::string value_of(Connection& connection, std::string_view sql) {
    const auto rows = rows_of(connection, sql);
    return rows.empty() ? "(no row)" : rows.front();
}

void run_sql(Connection& connection, std::string_view statements) {
    must(connection.execute_script(statements));
}

SyncSystem::SyncSystem(Options options) : options_(options) {
    owner_database = make_database(options_.owner, "iam");
    if (options_.owner == Home::kPostgres) {
        options_.wal.url = servers.front()->url();
    }
    owner = must(owner_database->connect());
    must(migrate(*owner, service_migrations(owner->dialect())));
    broker_database = must(open_sqlite(dir.file("broker.db"), clock));
    broker = must(open_embedded_broker(*broker_database, clock));
    restart_relay();
    requests = std::make_unique<InboxHandler>(
        "iam.requests",
        [this](Transaction& transaction, const Event& event) {
            return accept_scan_request(transaction, event, options_.partitions);
        },
        logger);
    ConsumerOptions consumer;
    consumer.subscription = "iam.requests";
    consumer.topic = "iam.requests";
    consumer.member = "iam-1";
    request_consumer =
        must(Consumer::create(*owner_database, *broker, *requests, random, logger, consumer));
}

std::unique_ptr<Database> SyncSystem::make_database(const std::string& name) {
    return make_database(options_.replicas, name);
}

std::unique_ptr<Database> SyncSystem::make_database(Home home, const std::string& name) {
    if (home == Home::kSqlite) {
        return must(open_sqlite(dir.file(name + ".db"), clock));
    }
    servers.push_back(std::make_unique<PostgresDatabase>(
        options_.server == nullptr ? PostgresServer::shared() : *options_.server));
    return must(open_postgres(servers.back()->url(), clock));
}

void SyncSystem::restart_relay() {
    relays.clear();
    scans.clear();
    for (std::uint32_t i = 0; i < options_.partitions; ++i) {
        const Partition partition{i, options_.partitions};
        scans.push_back(std::make_unique<ScanSource>("iam", partition, logger, options_.scan));
        RelayOptions relay;
        relay.service = "iam";
        relay.owner = "iam-1";
        relay.partition = partition;
        relay.batch_events_max = options_.batch_events_max;
        for (const std::string& entity : options_.scan.transactions) {
            relay.transactions.push_back("iam." + entity);
        }
        if (options_.owner == Home::kPostgres) {
            relay.open_reader = wal_reader(*owner_database, options_.wal, system_clock_, logger);
        }
        relays.push_back(
            must(Relay::create(*owner_database, *broker, scans.back().get(), logger, relay)));
    }
}

void SyncSystem::owner_sql(std::string_view statements) { run_sql(*owner, statements); }

void SyncSystem::publish(const std::vector<PublishEntry>& entries) {
    entries_ = entries;
    if (options_.capture == CaptureBy::kWal) {
        must(apply_wal_capture(*owner, {"iam", options_.wal.url, entries_}, system_clock_));
        return;
    }
    auto transaction = must(Transaction::begin(*owner, TransactionMode::kWrite));
    must(apply_trigger_capture(transaction, "iam", entries));
    must(transaction.commit());
}

void SyncSystem::capture_by(CaptureBy capture) {
    options_.capture = capture;
    publish(std::vector(entries_));
}

ReplicaSide& SyncSystem::add_replica(std::string service, std::string entity, std::string table,
                                     std::vector<std::pair<std::string, std::string>> columns) {
    auto side = std::make_unique<ReplicaSide>();
    side->definition = {service, "iam." + entity, table, std::move(columns)};
    side->database = make_database(options_.replicas, service);
    side->sql = must(side->database->connect());
    must(migrate(*side->sql, service_migrations(side->sql->dialect())));
    side->handler = std::make_unique<ReplicaHandler>(side->definition, random, logger);
    restart_consumer(*side);
    RelayOptions relay;
    relay.service = service;
    relay.owner = service + "-1";
    side->relay = must(Relay::create(*side->database, *broker, nullptr, logger, relay));
    auto transaction = must(Transaction::begin(*side->sql, TransactionMode::kWrite));
    must(ensure_filled(transaction, side->definition, random));
    must(transaction.commit());
    replicas.push_back(std::move(side));
    return *replicas.back();
}

void SyncSystem::restart_consumer(ReplicaSide& side) {
    ConsumerOptions consumer;
    consumer.subscription = side.definition.subscription();
    consumer.topic = side.definition.topic;
    consumer.member = side.definition.service + "-1";
    consumer.start_at = StartAt::kLatest;
    consumer.batch_events_max = options_.batch_events_max;
    side.consumer.reset();
    side.consumer =
        must(Consumer::create(*side.database, *broker, *side.handler, random, logger, consumer));
}

std::uint64_t SyncSystem::step() {
    std::uint64_t moved = 0;
    const auto run = [&](auto& loop) {
        if (auto done = loop.run_once()) {
            moved += *done;
        } else {
            errors.push_back(done.error());
        }
    };
    for (auto& relay : relays) {
        run(*relay);
    }
    run(*request_consumer);
    for (auto& side : replicas) {
        run(*side->relay);
        run(*side->consumer);
    }
    return moved;
}

bool SyncSystem::is_server_sending() {
    return options_.capture == CaptureBy::kWal &&
           value_of(*owner,
                    "SELECT count(*) FROM pg_stat_replication JOIN pg_replication_slots ON "
                    "active_pid = pid WHERE database = current_database() AND "
                    "sent_lsn < pg_current_wal_flush_lsn()") != "0";
}

void SyncSystem::settle() {
    constexpr int kStepsMax = 100'000;
    for (int quiet = 0, steps = 0; quiet < 3 && steps < kStepsMax; ++steps) {
        // Asked before the step, which reads what has been sent.
        const bool more_comes = is_server_sending();
        quiet = step() == 0 && !more_comes ? quiet + 1 : 0;
    }
}

VerificationStatus SyncSystem::verify(ReplicaSide& side, VerificationPurpose purpose) {
    auto transaction = must(Transaction::begin(*side.sql, TransactionMode::kWrite));
    const std::string id =
        must(request_verification(transaction, side.definition, purpose, random));
    must(transaction.commit());
    settle();
    return must(read_verification(*side.sql, id));
}

}  // namespace instep::test
