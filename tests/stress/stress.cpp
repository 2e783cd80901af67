#include "tests/stress/stress.hpp"

#include "instep/broker/embedded/broker.hpp"
#include "instep/capture/capture.hpp"
#include "instep/concurrency/loop.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/db/postgres/database.hpp"
#include "instep/db/schema.hpp"
#include "instep/db/sqlite/database.hpp"
#include "instep/relay/relay.hpp"
#include "instep/replica/replica.hpp"
#include "instep/replica/scan.hpp"
#include "instep/replica/verification.hpp"
#include "instep/telemetry/logger.hpp"
#include "instep/wal/wal_capture.hpp"
#include "instep/wal/wal_reader.hpp"
#include "tests/stress/flaky_broker.hpp"
#include "tests/stress/replica_watch.hpp"
#include "tests/stress/writers.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/log_lines.hpp"
#include "tests/support/log_reading.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/postgres_session.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

namespace instep::stress {

namespace {

using namespace std::chrono_literals;
using test::expect_value;

/// Names the connections that may be ended.
constexpr std::string_view kFlows = "?application_name=flows";

std::unique_ptr<Connection> open_migrated(Database& database) {
    auto connection = expect_value(database.connect());
    expect_value(migrate(*connection, service_migrations(connection->dialect())));
    return connection;
}

/// The connection may be ended while something is made.
template <class Make>
auto until_done(Make make) {
    for (int attempts = 1;; ++attempts) {
        auto made = make();
        if (made || attempts == 20) {
            return expect_value(std::move(made));
        }
    }
}

/// A replica and its flows.
struct Side {
    ReplicaDefinition definition;
    std::unique_ptr<Database> database;
    std::unique_ptr<Connection> sql;
    std::unique_ptr<ReplicaHandler> handler;
    std::unique_ptr<Loop> consumer;
    std::unique_ptr<Loop> relay;
};

class Stress {
public:
    explicit Stress(const StressOptions& options) : options_(options), random_(options.seed) {
        expect_value(owner_->execute_script(kTables));
        expect_value(owner_->execute_script(
            fmt::format("INSERT INTO items SELECT n, n, 'first' FROM generate_series(1, {}, 2) n",
                        options_.keys)));
        publish_items();
        start_owner();
        add_side("cloud",
                 expect_value(open_postgres(replica_home_.url() + std::string(kFlows), clock_)));
        add_side("shop", expect_value(open_sqlite(folder_.file("shop.db"), clock_)));
    }

    StressResult run() {
        for (Side& side : sides_) {
            if (!test::eventually([&] { return is_live(side); })) {
                result_.problem = "a replica was not filled";
                return result_;
            }
            watch_versions(*side.sql);
        }
        Writers writers({home_.url(), options_.writers, options_.keys, options_.seed});
        const auto end = clock_.monotonic() + options_.time;
        const auto latest = end + test::kPatience;
        while (clock_.monotonic() < end ||
               (!has_been_through_enough() && clock_.monotonic() < latest)) {
            control_.run("SELECT pg_sleep(0.02)");
            if (!options_.bad_reader) {
                act();
            }
        }
        writers.stop();
        result_.transactions = writers.transactions();
        come_to_rest();
        if (!options_.bad_reader) {
            verify_at_rest();
        }
        compare();
        result_.log = fmt::format("{}", fmt::join(log_lines_.lines(), "\n"));
        return result_;
    }

private:
    void publish_items() {
        const PublishEntry items{"items", "item", {"id"}, {"id", "v", "note"}, {}};
        if (options_.capture == CaptureBy::kWal) {
            expect_value(
                apply_wal_capture(*owner_, {"iam", home_.url(), std::span(&items, 1)}, clock_));
            return;
        }
        auto transaction = expect_value(Transaction::begin(*owner_, TransactionMode::kWrite));
        expect_value(apply_capture(transaction, "iam", std::span(&items, 1)));
        expect_value(transaction.commit());
    }

    void start_owner() {
        ConsumerOptions requests;
        requests.subscription = "iam.requests";
        requests.topic = "iam.requests";
        requests.member = "iam";
        owner_requests_ = start_consumer(*owner_database_, request_handler_, requests);
        if (options_.bad_reader) {
            relays_.push_back(start_bad_relay());
            return;
        }
        for (int i = 0; i < 2; ++i) {
            relays_.push_back(start_owner_relay(i));
        }
    }

    void add_side(const std::string& service, std::unique_ptr<Database> database) {
        Side side;
        side.definition = {service, "iam.item", "items", {}};
        side.database = std::move(database);
        side.sql = open_migrated(*side.database);
        side.handler = std::make_unique<ReplicaHandler>(side.definition, random_, logger_);
        side.consumer = start_consumer(side);
        side.relay = start_relay(*side.database, service, 0, &LogReader::open);
        auto transaction = expect_value(Transaction::begin(*side.sql, TransactionMode::kWrite));
        expect_value(ensure_filled(transaction, side.definition, random_));
        expect_value(transaction.commit());
        sides_.push_back(std::move(side));
    }

    std::unique_ptr<Loop> start_loop(std::string name, Loop::Step step) {
        LoopOptions options;
        options.name = std::move(name);
        options.idle.idle_max = 20ms;
        options.backoff.initial = 1ms;
        options.backoff.max = 50ms;
        auto loop =
            std::make_unique<Loop>(options, std::move(step), nullptr, clock_, random_, logger_);
        loop->start();
        return loop;
    }

    std::unique_ptr<Loop> start_owner_relay(int number) {
        WalReaderOptions wal;
        wal.url = home_.url() + std::string(kFlows);
        wal.topics = {"iam.item"};
        wal.linger = 5ms;
        return start_relay(*owner_database_, "iam", number,
                           options_.capture == CaptureBy::kWal
                               ? wal_reader(*owner_database_, wal, clock_, logger_)
                               : &LogReader::open);
    }

    std::unique_ptr<Loop> start_relay(Database& database, const std::string& service, int number,
                                      LogReader::Open open_reader) {
        ScanOptions scan;
        scan.chunk_rows_max = 7;
        scan.digest_rows = 5;
        auto chunks = std::make_shared<ScanSource>(service, Partition{}, logger_, scan);
        RelayOptions options;
        options.service = service;
        options.owner = fmt::format("{}-{}", service, number);
        options.batch_events_max = 50;
        options.lease_duration = 1000ms;
        options.open_reader = std::move(open_reader);
        std::shared_ptr<Relay> relay = until_done(
            [&] { return Relay::create(database, broker_, chunks.get(), logger_, options); });
        return start_loop(options.owner,
                          [chunks, relay](const std::stop_token&) { return relay->run_once(); });
    }

    std::unique_ptr<Loop> start_bad_relay() {
        auto chunks = std::make_shared<ScanSource>("iam", Partition{}, logger_);
        auto relay =
            std::make_shared<BadRelay>(*owner_database_, *embedded_, *chunks, *options_.bad_reader);
        return start_loop("bad",
                          [chunks, relay](const std::stop_token&) { return relay->run_once(); });
    }

    std::unique_ptr<Loop> start_consumer(Database& database, Handler& handler,
                                         const ConsumerOptions& options) {
        std::shared_ptr<Consumer> consumer = until_done([&] {
            return Consumer::create(database, broker_, handler, random_, logger_, options);
        });
        return start_loop(options.subscription,
                          [consumer](const std::stop_token&) { return consumer->run_once(); });
    }

    std::unique_ptr<Loop> start_consumer(Side& side) {
        ConsumerOptions options;
        options.subscription = side.definition.subscription();
        options.topic = side.definition.topic;
        options.member = side.definition.service;
        options.start_at = StartAt::kLatest;
        options.batch_events_max = 40;
        options.parked_backoff.initial = 10ms;
        return start_consumer(*side.database, *side.handler, options);
    }

    /// A slow machine needs longer for it.
    [[nodiscard]] bool has_been_through_enough() const {
        return options_.bad_reader ||
               (result_.backfills > 2 && result_.verifications > 2 && result_.disturbances > 10);
    }

    /// Asks for something, or does harm.
    void act() {
        Side& side = sides_[random_.below(sides_.size())];
        switch (random_.below(8)) {
            case 0: {
                auto& relay = relays_[random_.below(relays_.size())];
                const int number = relay == relays_.front() ? 0 : 1;
                relay.reset();
                relay = start_owner_relay(number);
                break;
            }
            case 1:
                side.consumer.reset();
                side.consumer = start_consumer(side);
                break;
            case 2:
                control_.run("UPDATE instep.lease SET until_us = 0");
                break;
            case 3:
                // One of the owner's or of the replica's.
                control_.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'flows' ORDER BY random() LIMIT 1");
                break;
            default:
                ask(side);
                return;
        }
        ++result_.disturbances;
    }

    /// A backfill or a verification, if none of either is under way.
    void ask(Side& side) {
        if (!is_live(side) || count(side, "instep_verification WHERE finished_us IS NULL") > 0) {
            return;
        }
        auto transaction = Transaction::begin(*side.sql, TransactionMode::kWrite);
        if (!transaction) {
            return;
        }
        const bool backfill = random_.below(2) == 0;
        const auto asked = backfill ? request_backfill(*transaction, side.definition, random_)
                                    : request_verification(*transaction, side.definition,
                                                           VerificationPurpose::kVerify, random_);
        if (asked && transaction->commit()) {
            ++(backfill ? result_.backfills : result_.verifications);
        }
    }

    static bool is_live(Side& side) {
        const auto replicas = until_done([&] { return list_replicas(*side.sql); });
        return !replicas.empty() && replicas.front().state == ReplicaState::kLive;
    }

    static std::uint64_t count(Side& side, std::string_view what) {
        const auto rows = until_done(
            [&] { return side.sql->query(fmt::format("SELECT count(*) FROM {}", what), {}); });
        expect_value(rows->next());
        return static_cast<std::uint64_t>(rows->integer(0));
    }

    /// True if no flow does anything in 10 more of its steps.
    bool is_quiet() {
        std::vector<LoopStats> before;
        for (const Loop* loop : loops()) {
            before.push_back(loop->stats());
        }
        bool worked = false;
        return test::eventually([&] {
                   bool all = true;
                   for (std::size_t i = 0; i < before.size(); ++i) {
                       const LoopStats now = loops()[i]->stats();
                       worked = worked || now.work != before[i].work || now.failing;
                       all = all && now.steps >= before[i].steps + 10;
                   }
                   return all || worked;
               }) &&
               !worked;
    }

    void come_to_rest() {
        if (!test::eventually([&] { return is_quiet(); })) {
            result_.problem = "the flows did not come to rest";
        }
    }

    void verify_at_rest() {
        for (Side& side : sides_) {
            if (!is_live(side)) {
                result_.problem = side.definition.service + " is not live at rest";
                return;
            }
            auto transaction =
                until_done([&] { return Transaction::begin(*side.sql, TransactionMode::kWrite); });
            const std::string id = expect_value(request_verification(
                transaction, side.definition, VerificationPurpose::kVerify, random_));
            expect_value(transaction.commit());
            const auto is_finished = [&] {
                return expect_value(read_verification(*side.sql, id)).finished;
            };
            if (!test::eventually(is_finished)) {
                result_.problem = side.definition.service + " cannot be verified at rest";
            }
        }
    }

    void compare() {
        const auto source = item_rows(*owner_);
        result_.events = events_published();
        result_.epochs_begun =
            std::stoull(control_.run("SELECT epoch - 1 FROM instep.log_identity"));
        result_.wrong_on_postgres = wrong_rows(source, item_rows(*sides_[0].sql));
        result_.wrong_on_sqlite = wrong_rows(source, item_rows(*sides_[1].sql));
        for (Side& side : sides_) {
            result_.gone_back += versions_gone_back(*side.sql);
            result_.differences += count(side, "instep_difference");
            if (count(side, "instep_parked_key") > 0) {
                result_.problem = "there are parked keys in " + side.definition.service;
            }
        }
    }

    std::uint64_t events_published() {
        const auto sql = expect_value(broker_database_->connect());
        const auto rows = expect_value(
            sql->query("SELECT count(*) FROM instep_message WHERE type LIKE 'item.%'", {}));
        expect_value(rows->next());
        return static_cast<std::uint64_t>(rows->integer(0));
    }

    std::vector<const Loop*> loops() {
        std::vector<const Loop*> all{owner_requests_.get()};
        for (const auto& relay : relays_) {
            all.push_back(relay.get());
        }
        for (const Side& side : sides_) {
            all.push_back(side.consumer.get());
            all.push_back(side.relay.get());
        }
        return all;
    }

    const StressOptions options_;
    StressResult result_;
    SystemClock clock_;
    SeededRandom random_;
    test::LogLines log_lines_;
    Logger logger_{log_lines_, clock_, {LogLevel::kWarn, LogFormat::kText}};
    test::TempDir folder_;
    test::PostgresDatabase home_;
    test::PostgresDatabase replica_home_;
    test::PostgresSession control_{home_.url()};
    std::unique_ptr<Database> owner_database_ =
        expect_value(open_postgres(home_.url() + std::string(kFlows), clock_));
    std::unique_ptr<Database> control_database_ = expect_value(open_postgres(home_.url(), clock_));
    std::unique_ptr<Connection> owner_ = open_migrated(*control_database_);
    std::unique_ptr<Database> broker_database_ =
        expect_value(open_sqlite(folder_.file("broker.db"), clock_));
    std::unique_ptr<Broker> embedded_ =
        expect_value(open_embedded_broker(*broker_database_, clock_));
    FlakyBroker broker_{*embedded_, random_};
    InboxHandler request_handler_{"iam.requests",
                                  [](Transaction& transaction, const Event& event) {
                                      return accept_scan_request(transaction, event, 1);
                                  },
                                  logger_};
    std::unique_ptr<Loop> owner_requests_;
    std::vector<std::unique_ptr<Loop>> relays_;
    std::vector<Side> sides_;
};

}  // namespace

StressResult run_stress(const StressOptions& options) { return Stress(options).run(); }

std::string to_text(const StressResult& result) {
    return fmt::format(
        "wrong rows {} (PostgreSQL) {} (SQLite), gone back {}, differences {}, epochs begun {}; {} "
        "transactions, "
        "{} events, {} backfills, {} verifications, {} disturbances{}{}",
        result.wrong_on_postgres, result.wrong_on_sqlite, result.gone_back, result.differences,
        result.epochs_begun, result.transactions, result.events, result.backfills,
        result.verifications, result.disturbances, result.problem.empty() ? "" : "; ",
        result.problem);
}

}  // namespace instep::stress
