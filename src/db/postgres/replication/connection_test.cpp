#include "instep/db/postgres/replication/connection.hpp"

#include "tests/support/eventually.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/postgres_session.hpp"

#include <gmock/gmock.h>

#include <arpa/inet.h>
#include <memory>
#include <netinet/in.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace instep {

namespace {

using namespace std::chrono_literals;
using test::kPatience;
using test::PostgresDatabase;
using test::PostgresServer;
using test::PostgresSession;
using test::run_postgres;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

ErrorCode code(const auto& result) { return result.error().code; }

class ReplicationSlots : public ::testing::Test {
protected:
    std::unique_ptr<ReplicationConnection> connect(std::chrono::milliseconds patience = kPatience) {
        return ReplicationConnection::open(database_.url(), clock_, patience).value();
    }

    Result<std::unique_ptr<ReplicationConnection>> try_connect(const std::string& url,
                                                               std::chrono::milliseconds patience) {
        return ReplicationConnection::open(url, clock_, patience);
    }

    std::string run(const std::string& sql) { return run_postgres(database_.url(), sql); }

    SystemClock clock_;
    PostgresDatabase database_;
};

TEST_F(ReplicationSlots, AreCreatedReadAndDropped) {
    const auto connection = connect();
    const auto created = connection->create_slot("mine", SnapshotExport::kNone).value();
    EXPECT_THAT(created.snapshot, IsEmpty());

    const auto slot = connection->read_slot("mine").value().value();
    EXPECT_EQ(slot.name, "mine");
    EXPECT_EQ(slot.plugin, "pgoutput");
    EXPECT_EQ(slot.database, database_.name());
    EXPECT_EQ(slot.active_pid, std::nullopt);
    EXPECT_EQ(slot.confirmed_flush, created.consistent_point);
    EXPECT_LE(slot.restart, slot.confirmed_flush);
    EXPECT_EQ(slot.wal_status, WalStatus::kReserved);
    EXPECT_EQ(slot.safe_wal_bytes, std::nullopt);

    connection->drop_slot("mine").value();
    EXPECT_EQ(connection->read_slot("mine").value(), std::nullopt);
    EXPECT_EQ(code(connection->drop_slot("mine")), ErrorCode::kNotFound);
}

TEST_F(ReplicationSlots, SayWhichHistoryTheyBelongTo) {
    const auto system = connect()->identify_system().value();
    EXPECT_EQ(std::to_string(system.system_id),
              run("SELECT system_identifier FROM pg_control_system()"));
    EXPECT_EQ(system.timeline, 1U);
    EXPECT_EQ(system.database, database_.name());
    EXPECT_LE(system.wal_end, parse_lsn(run("SELECT pg_current_wal_lsn()")).value());
}

TEST_F(ReplicationSlots, ShowTheDatabaseAsOfTheirBeginning) {
    run("CREATE TABLE item (id int); INSERT INTO item VALUES (1)");
    const auto connection = connect();
    const auto created = connection->create_slot("mine", SnapshotExport::kExported).value();
    run("INSERT INTO item VALUES (2)");

    PostgresSession session(database_.url());
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    session.run("SET TRANSACTION SNAPSHOT '" + created.snapshot + "'");
    EXPECT_EQ(session.run("SELECT count(*) FROM item"), "1");
    // Whoever has imported it keeps it.
    connection->drop_slot("mine").value();
    EXPECT_EQ(session.run("SELECT count(*) FROM item"), "1");
}

TEST_F(ReplicationSlots, AreNotMadeTwice) {
    const auto connection = connect();
    connection->create_slot("mine", SnapshotExport::kNone).value();
    const auto again = connection->create_slot("mine", SnapshotExport::kNone);
    ASSERT_FALSE(again.has_value());
    EXPECT_EQ(code(again), ErrorCode::kConflict);
    EXPECT_THAT(again.error().message, HasSubstr("mine"));
    EXPECT_TRUE(connection->read_slot("mine").value().has_value());
}

TEST_F(ReplicationSlots, AreNotLeftBehindWhenOlderTransactionsGoOnForTooLong) {
    run("CREATE TABLE item (id int)");
    PostgresSession writer(database_.url());
    writer.run("BEGIN");
    writer.run("INSERT INTO item VALUES (1)");
    const auto connection = connect(3s);
    const auto created = connection->create_slot("mine", SnapshotExport::kNone);
    ASSERT_FALSE(created.has_value());
    EXPECT_EQ(code(created), ErrorCode::kTimeout);
    EXPECT_THAT(created.error().message,
                AllOf(HasSubstr("mine"), HasSubstr("older transactions"), HasSubstr("cancelled")));
    EXPECT_EQ(connection->read_slot("mine").value(), std::nullopt);
    writer.run("COMMIT");
    connection->create_slot("mine", SnapshotExport::kNone).value();
}

TEST_F(ReplicationSlots, HaveNamesOfTheServersKind) {
    const auto connection = connect();
    for (const std::string& name :
         {std::string(), std::string("Mine"), std::string("a-b"), std::string("a\"b"),
          std::string("a'b"), std::string("ä"), std::string(64, 'a'), std::string("a\0b", 3)}) {
        EXPECT_EQ(code(connection->read_slot(name)), ErrorCode::kInvalidArgument) << name;
        EXPECT_EQ(code(connection->drop_slot(name)), ErrorCode::kInvalidArgument) << name;
        EXPECT_EQ(code(connection->create_slot(name, SnapshotExport::kNone)),
                  ErrorCode::kInvalidArgument)
            << name;
    }
    connection->create_slot(std::string(63, 'a'), SnapshotExport::kNone).value();
}

TEST_F(ReplicationSlots, OfOtherKindsAreReadToo) {
    run("SELECT pg_create_physical_replication_slot('bytes')");
    const auto slot = connect()->read_slot("bytes").value().value();
    EXPECT_THAT(slot.plugin, IsEmpty());
    EXPECT_THAT(slot.database, IsEmpty());
    EXPECT_EQ(slot.confirmed_flush, Lsn{});
    EXPECT_EQ(slot.wal_status, WalStatus::kUnknown);
    run("SELECT pg_drop_replication_slot('bytes')");
}

TEST_F(ReplicationSlots, NeedTheRightToReplicate) {
    run("DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN");
    std::string url = database_.url();
    url.replace(url.find("tester"), 6, "plain");
    const auto refused = try_connect(url, kPatience);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(code(refused), ErrorCode::kPermissionDenied);
    EXPECT_THAT(refused.error().message, HasSubstr("REPLICATION"));
}

TEST_F(ReplicationSlots, NeedADatabaseThatExists) {
    const auto refused = try_connect(PostgresServer::shared().url("nowhere"), kPatience);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(code(refused), ErrorCode::kNotFound);
    EXPECT_THAT(refused.error().message, HasSubstr("nowhere"));
}

TEST(ReplicationServers, NeedWalLevelLogical) {
    const PostgresServer server({.settings = {"wal_level = replica"}});
    const SystemClock clock;
    const auto connection = ReplicationConnection::open(server.url(), clock, kPatience).value();
    const auto created = connection->create_slot("mine", SnapshotExport::kNone);
    ASSERT_FALSE(created.has_value());
    EXPECT_EQ(code(created), ErrorCode::kConfigInvalid);
    EXPECT_THAT(created.error().message, HasSubstr("wal_level = logical"));
}

TEST(ReplicationServers, HaveSoManySlots) {
    const PostgresServer server({.settings = {"max_replication_slots = 1"}});
    const SystemClock clock;
    const auto connection = ReplicationConnection::open(server.url(), clock, kPatience).value();
    connection->create_slot("one", SnapshotExport::kNone).value();
    const auto created = connection->create_slot("two", SnapshotExport::kNone);
    ASSERT_FALSE(created.has_value());
    EXPECT_EQ(code(created), ErrorCode::kLimitExceeded);
    EXPECT_THAT(created.error().message, HasSubstr("max_replication_slots"));
}

TEST(ReplicationServers, ThatAreGoneAreUnavailable) {
    PostgresServer server;
    const SystemClock clock;
    const auto connection = ReplicationConnection::open(server.url(), clock, kPatience).value();
    server.stop_immediately();
    EXPECT_EQ(code(connection->identify_system()), ErrorCode::kUnavailable);
    const auto refused = ReplicationConnection::open(server.url(), clock, kPatience);
    EXPECT_EQ(code(refused), ErrorCode::kUnavailable);
    EXPECT_THAT(refused.error().message, HasSubstr("127.0.0.1"));
}

/// A port that takes connections and says nothing.
class SilentPort {
public:
    SilentPort() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        if (socket_ < 0) {
            throw std::runtime_error("no socket");
        }
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        EXPECT_EQ(::bind(socket_, generic, size), 0);
        EXPECT_EQ(::listen(socket_, 1), 0);
        EXPECT_EQ(::getsockname(socket_, generic, &size), 0);
        port_ = ntohs(address.sin_port);
    }
    SilentPort(const SilentPort&) = delete;
    SilentPort& operator=(const SilentPort&) = delete;
    ~SilentPort() { ::close(socket_); }

    [[nodiscard]] int port() const { return port_; }

private:
    int socket_;
    int port_ = 0;
};

TEST(ReplicationUrls, OfServersThatSayNothingTimeOut) {
    const SilentPort silent;
    const SystemClock clock;
    const auto refused = ReplicationConnection::open(
        "postgresql://u:hush@127.0.0.1:" + std::to_string(silent.port()) + "/d", clock, 100ms);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(code(refused), ErrorCode::kTimeout);
    EXPECT_THAT(refused.error().message, AllOf(HasSubstr("100 ms"), Not(HasSubstr("hush"))));
}

TEST(ReplicationUrls, KeepTheirPasswordsToThemselves) {
    const SystemClock clock;
    for (const char* url :
         {"postgresql:/u:hush@host/d", "postgresql://u:hush@127.0.0.1:1/d", "host=x pass word=hush",
          "postgresql://u:hush/1@host/d", "postgresql://u:1/hush@host/d",
          "postgresql://u:pw@hush@host/d", "postgresql://u:%zzhush@host/d",
          "postgresql://u:x?hush@host/d", "hush", "postgresql://u:12?hush=1@host/d"}) {
        const auto refused = ReplicationConnection::open(url, clock, 1s);
        ASSERT_FALSE(refused.has_value()) << url;
        EXPECT_THAT(refused.error().message, Not(HasSubstr("hush"))) << url;
    }
}

TEST(ReplicationUrls, HaveToBeReadable) {
    const SystemClock clock;
    EXPECT_EQ(code(ReplicationConnection::open("nothing", clock, 1s)), ErrorCode::kInvalidArgument);
    EXPECT_EQ(code(ReplicationConnection::open("postgresql://h/d", clock, 0ms)),
              ErrorCode::kInvalidArgument);
    EXPECT_EQ(code(ReplicationConnection::open(std::string_view("a\0b", 3), clock, 1s)),
              ErrorCode::kInvalidArgument);
}

}  // namespace

}  // namespace instep
