#pragma once

#include "instep/base/random.hpp"
#include "instep/broker/broker.hpp"
#include "instep/capture/capture.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/db/database.hpp"
#include "instep/relay/relay.hpp"
#include "instep/replica/replica.hpp"
#include "instep/replica/scan.hpp"
#include "instep/replica/verification.hpp"
#include "instep/telemetry/logger.hpp"
#include "instep/wal/wal_reader.hpp"
#include "tests/support/log_lines.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/temp_dir.hpp"

#include <memory>
#include <string>
#include <vector>

namespace instep::test {

/// One replica with everything that runs it: database, handler, consumer, and the relay of
/// its own log, which carries its requests.
struct ReplicaSide {
    ReplicaDefinition definition;
    std::unique_ptr<Database> database;
    std::unique_ptr<Connection> sql;
    std::unique_ptr<ReplicaHandler> handler;
    std::unique_ptr<Consumer> consumer;
    std::unique_ptr<Relay> relay;
};

/// Where a service of a SyncSystem keeps its data.
enum class Home : std::uint8_t { kSqlite, kPostgres };

/// An owner "iam", a broker embedded in an SQLite file and any number of replicas, moved by
/// hand: nothing happens but in settle() and step().
class SyncSystem {
public:
    struct Options {
        Home owner = Home::kSqlite;
        Home replicas = Home::kSqlite;
        std::uint32_t partitions = 1;

        /// `scan.transactions` are relayed as whole transactions too.
        ScanOptions scan{};
        std::uint32_t batch_events_max = 1000;

        /// Who captures, and how the relay reads then; for an owner on PostgreSQL.
        CaptureBy capture = CaptureBy::kTriggers;
        WalReaderOptions wal{};

        /// For homes on PostgreSQL; null: the shared one. It outlives the system.
        PostgresServer* server = nullptr;
    };
    explicit SyncSystem(Options options);
    SyncSystem() : SyncSystem(Options{}) {}

    /// Runs statements on the owner's database, as any application would.
    void owner_sql(std::string_view statements);

    /// Brings exactly these entries into force.
    void publish(const std::vector<PublishEntry>& entries);

    /// The same entries, captured so from now on.
    void capture_by(CaptureBy capture);

    /// A replica of iam.`entity`, subscribed and asked to be filled.
    ReplicaSide& add_replica(std::string service, std::string entity, std::string table,
                             std::vector<std::pair<std::string, std::string>> columns = {});

    /// An empty database where replicas are at home.
    std::unique_ptr<Database> make_database(const std::string& name);

    /// Makes the consumer or the relay of the owner anew, as after a crash.
    void restart_consumer(ReplicaSide& side);
    void restart_relay();

    /// Every loop once; how many events moved. Errors go to `errors`.
    std::uint64_t step();

    /// Whether a server has not sent all of its write-ahead log yet to whom it sends it.
    bool is_server_sending();

    /// Steps until nothing moves any more.
    void settle();

    /// Runs a verification or repair to its end.
    VerificationStatus verify(ReplicaSide& side,
                              VerificationPurpose purpose = VerificationPurpose::kVerify);

    ManualClock clock;
    SeededRandom random{1};
    LogLines log_lines;
    Logger logger{log_lines, clock, {LogLevel::kDebug, LogFormat::kText}};
    TempDir dir;

    /// Declared before those that are connected to them.
    std::vector<std::unique_ptr<PostgresDatabase>> servers;
    std::unique_ptr<Database> owner_database;
    std::unique_ptr<Connection> owner;
    std::unique_ptr<Database> broker_database;
    std::unique_ptr<Broker> broker;
    std::vector<std::unique_ptr<ScanSource>> scans;
    std::vector<std::unique_ptr<Relay>> relays;
    std::unique_ptr<InboxHandler> requests;
    std::unique_ptr<Consumer> request_consumer;
    std::vector<std::unique_ptr<ReplicaSide>> replicas;
    std::vector<Error> errors;

private:
    std::unique_ptr<Database> make_database(Home home, const std::string& name);

    Options options_;
    std::vector<PublishEntry> entries_;

    /// For waits for a server, which do not stand still.
    SystemClock system_clock_;
};

/// The rows of a query, one text a row, values separated by '|'.
std::vector<std::string> rows_of(Connection& connection, std::string_view sql);

/// The first value of a query's first row.
std::string value_of(Connection& connection, std::string_view sql);

/// Runs statements that must succeed.
void run_sql(Connection& connection, std::string_view statements);

}  // namespace instep::test
