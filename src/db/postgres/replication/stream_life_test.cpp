#include "instep/db/postgres/replication/stream.hpp"
#include "tests/support/postgres_stream.hpp"

#include <gmock/gmock.h>

namespace instep {

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::kPatience;
using test::PostgresDatabase;
using test::PostgresServer;
using test::run_postgres;
using ::testing::AllOf;
using ::testing::HasSubstr;

ErrorCode code(const auto& result) { return result.error().code; }

using PostgresStreamLife = test::PostgresStream;

TEST_F(PostgresStreamLife, IsNotStartedTwice) {
    given_slot();
    const auto stream = start();
    const std::string pid = run("SELECT active_pid FROM pg_replication_slots WHERE slot_name = '" +
                                options_.slot + "'");
    const auto second = try_start();
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(code(second), ErrorCode::kBusy);
    EXPECT_THAT(second.error().message, AllOf(HasSubstr(options_.slot), HasSubstr(pid)));

    const auto dropped = connect()->drop_slot(options_.slot);
    ASSERT_FALSE(dropped.has_value());
    EXPECT_EQ(code(dropped), ErrorCode::kBusy);
    EXPECT_THAT(dropped.error().message, HasSubstr(pid));
}

TEST_F(PostgresStreamLife, NeedsASlot) {
    run("CREATE PUBLICATION \"all\" FOR ALL TABLES");
    const auto stream = try_start();
    ASSERT_FALSE(stream.has_value());
    EXPECT_EQ(code(stream), ErrorCode::kNotFound);
    EXPECT_THAT(stream.error().message, AllOf(HasSubstr(options_.slot), HasSubstr("create it")));
}

TEST_F(PostgresStreamLife, NeedsASlotOfItsKind) {
    run("CREATE PUBLICATION \"all\" FOR ALL TABLES");
    run("SELECT pg_create_logical_replication_slot('" + options_.slot + "', 'test_decoding')");
    EXPECT_EQ(code(try_start()), ErrorCode::kConfigInvalid);
}

TEST_F(PostgresStreamLife, NeedsASlotOfItsDatabase) {
    given_slot();
    const PostgresDatabase other;
    options_.url = other.url();
    const auto stream = try_start();
    ASSERT_FALSE(stream.has_value());
    EXPECT_EQ(code(stream), ErrorCode::kConfigInvalid);
    EXPECT_THAT(stream.error().message,
                AllOf(HasSubstr(database_.name()), HasSubstr(other.name())));
}

TEST_F(PostgresStreamLife, NeedsItsPublications) {
    given_slot();
    options_.publications = {"all", "it's \"gone\""};
    const auto stream = try_start();
    ASSERT_FALSE(stream.has_value());
    EXPECT_EQ(code(stream), ErrorCode::kNotFound);
    EXPECT_THAT(stream.error().message, HasSubstr("it's \"gone\""));
}

TEST_F(PostgresStreamLife, NeedsPublicationsThatAreOlderThanItsSlot) {
    given_table("id int PRIMARY KEY");
    given_slot();
    run("INSERT INTO item VALUES (1)");
    run("CREATE PUBLICATION late FOR ALL TABLES");
    options_.publications = {"late"};
    const auto stream = start();
    const auto received = stream->receive(kPatience);
    ASSERT_FALSE(received.has_value());
    EXPECT_EQ(code(received), ErrorCode::kNotFound);
    EXPECT_THAT(received.error().message, AllOf(HasSubstr("late"), HasSubstr("then the slot")));
}

TEST_F(PostgresStreamLife, TakesPublicationsOfAnyName) {
    given_table("id int PRIMARY KEY");
    run("CREATE PUBLICATION \"it's, \"\"odd\"\" \\\" FOR ALL TABLES");
    given_slot();
    options_.publications = {"it's, \"odd\" \\"};
    const auto stream = start();
    run("INSERT INTO item VALUES (1)");
    EXPECT_THAT(receive_commits(*stream)[2], "insert item 1");
}

TEST_F(PostgresStreamLife, IsNotStartedBeforeWhatTheSlotHasConfirmed) {
    given_slot();
    const Lsn confirmed = slot_position();
    const auto stream = try_start(Lsn{confirmed.value - 1});
    ASSERT_FALSE(stream.has_value());
    EXPECT_EQ(code(stream), ErrorCode::kConflict);
    EXPECT_THAT(stream.error().message, HasSubstr(format_lsn(confirmed)));
    EXPECT_TRUE(try_start(confirmed).has_value());
}

TEST_F(PostgresStreamLife, IsNotStartedBehindTheServersEnd) {
    given_slot();
    const auto stream = try_start(Lsn{1ULL << 62U});
    ASSERT_FALSE(stream.has_value());
    EXPECT_EQ(code(stream), ErrorCode::kConflict);
    EXPECT_THAT(stream.error().message, HasSubstr("restored"));
}

TEST_F(PostgresStreamLife, ChecksItsOptions) {
    given_slot();
    const auto refuses = [&](auto change) {
        const ReplicationOptions good = options_;
        change(options_);
        const auto stream = try_start();
        options_ = good;
        return !stream && code(stream) == ErrorCode::kInvalidArgument;
    };
    EXPECT_TRUE(refuses([](auto& options) { options.slot = "No"; }));
    EXPECT_TRUE(refuses([](auto& options) { options.publications = {}; }));
    EXPECT_TRUE(refuses([](auto& options) { options.publications = {""}; }));
    EXPECT_TRUE(refuses([](auto& options) { options.publications = {"\xff"}; }));
    EXPECT_TRUE(refuses([](auto& options) { options.status_interval = 9ms; }));
    EXPECT_TRUE(refuses([](auto& options) { options.silence_max = 1ms; }));
    EXPECT_TRUE(refuses([](auto& options) { options.silence_max = 2h; }));
    EXPECT_TRUE(refuses([](auto& options) { options.patience = 0ms; }));
    EXPECT_TRUE(refuses([](auto& options) { options.url = "nothing"; }));
    EXPECT_TRUE(try_start().has_value());
}

TEST_F(PostgresStreamLife, EndsWhenTheServerEndsIt) {
    given_slot();
    const auto stream = start();
    run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '" +
        options_.slot + "'");
    const auto received = stream->receive(kPatience);
    ASSERT_FALSE(received.has_value());
    EXPECT_EQ(code(received), ErrorCode::kUnavailable);
    EXPECT_THAT(received.error().message, HasSubstr("terminating connection"));
    EXPECT_EQ(stream->receive(kPatience).error(), received.error());
    EXPECT_EQ(stream->send_status().error(), received.error());
    start();
}

TEST_F(PostgresStreamLife, GivesASilentServerUp) {
    given_slot();
    options_.silence_max = 1s;
    const auto stream = start();
    const auto pid = connect()->read_slot(options_.slot).value()->active_pid.value();
    // An idle server answers, however long it has nothing to say.
    EXPECT_EQ(stream->receive(2s).value(), std::nullopt);

    ::kill(pid, SIGSTOP);
    const auto received = stream->receive(kPatience);
    ::kill(pid, SIGCONT);
    ASSERT_FALSE(received.has_value());
    EXPECT_EQ(code(received), ErrorCode::kUnavailable);
    EXPECT_THAT(received.error().message, HasSubstr("1000 ms"));
}

TEST(PostgresStreamServer, IsAnsweredWhenItAsks) {
    const PostgresServer server({.settings = {"wal_sender_timeout = 2s"}});
    const SystemClock clock;
    run_postgres(server.url(), "CREATE PUBLICATION \"all\" FOR ALL TABLES");
    ReplicationConnection::open(server.url(), clock, kPatience)
        .value()
        ->create_slot("mine", SnapshotExport::kNone)
        .value();
    const auto stream = ReplicationStream::start({.url = server.url(),
                                                  .slot = "mine",
                                                  .publications = {"all"},
                                                  .status_interval = 1h,
                                                  .silence_max = 1h},
                                                 {}, clock)
                            .value();
    EXPECT_EQ(stream->receive(4s).value(), std::nullopt);
}

TEST(PostgresStreamServer, ThatCrashedSendsEverythingAgain) {
    PostgresServer server;
    const SystemClock clock;
    run_postgres(server.url(),
                 "CREATE PUBLICATION \"all\" FOR ALL TABLES; CREATE TABLE item (id int)");
    ReplicationConnection::open(server.url(), clock, kPatience)
        .value()
        ->create_slot("mine", SnapshotExport::kNone)
        .value();
    const ReplicationOptions options{.url = server.url(), .slot = "mine", .publications = {"all"}};
    auto stream = ReplicationStream::start(options, {}, clock).value();
    run_postgres(server.url(), "INSERT INTO item VALUES (1)");
    const auto first = std::get<pgoutput::Begin>(stream->receive(kPatience).value().value());
    server.stop_immediately();
    Result<std::optional<pgoutput::Message>> received;
    while ((received = stream->receive(kPatience))) {
    }
    EXPECT_EQ(code(received), ErrorCode::kUnavailable);

    server.start();
    stream = ReplicationStream::start(options, {}, clock).value();
    const auto again = std::get<pgoutput::Begin>(stream->receive(kPatience).value().value());
    EXPECT_EQ(again.final_lsn, first.final_lsn);
    EXPECT_EQ(again.xid, first.xid);
}

TEST(PostgresStreamServer, LosesASlotThatFallsTooFarBehind) {
    const PostgresServer server({.settings = {"max_slot_wal_keep_size = 1MB", "min_wal_size = 32MB",
                                              "max_wal_size = 32MB"}});
    const SystemClock clock;
    run_postgres(server.url(),
                 "CREATE PUBLICATION \"all\" FOR ALL TABLES; CREATE TABLE noise (id int)");
    const auto connection = ReplicationConnection::open(server.url(), clock, kPatience).value();
    connection->create_slot("mine", SnapshotExport::kNone).value();
    EXPECT_TRUE(connection->read_slot("mine").value()->safe_wal_bytes.has_value());
    ASSERT_TRUE(eventually([&] {
        run_postgres(server.url(), "INSERT INTO noise VALUES (1); SELECT pg_switch_wal()");
        run_postgres(server.url(), "CHECKPOINT");
        return connection->read_slot("mine").value()->wal_status == WalStatus::kLost;
    }));
    const auto stream = ReplicationStream::start(
        {.url = server.url(), .slot = "mine", .publications = {"all"}}, {}, clock);
    ASSERT_FALSE(stream.has_value());
    EXPECT_EQ(code(stream), ErrorCode::kLimitExceeded);
    EXPECT_THAT(stream.error().message,
                AllOf(HasSubstr("mine"), HasSubstr("max_slot_wal_keep_size"), HasSubstr("drop")));
    EXPECT_TRUE(connection->drop_slot("mine").has_value());
}

}  // namespace

}  // namespace instep
