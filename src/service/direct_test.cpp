// Services without a broker.
#include "instep/consumer/replay.hpp"
#include "tests/support/service_fixture.hpp"

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::ServiceTest;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

/// Followers read the owner's log.
class DirectServiceTest : public ServiceTest {
protected:
    DirectServiceTest() { broker_ = "direct:"; }

    /// A service "mail" with a subscription to the users of "iam", which notes each in `sent`.
    void start_mail() {
        run_sql("mail", "CREATE TABLE sent (user_id TEXT)");
        const ServiceConfig mail =
            parse_service_file(
                "[service]\nname = 'mail'\ndatabase = 'sqlite:mail.db'\nbroker = 'direct:'\n"
                "[[subscription]]\nname = 'welcome'\ntopic = 'iam.user'\n",
                dir_.file("mail.toml"), process_environment())
                .value();
        ASSERT_TRUE(apply_service(mail, clock_, {}));
        Handlers handlers;
        handlers["welcome"].on("user.created", [](HandlerContext& context) {
            const std::string text = (context.is_replay() ? "again " : "") + context.event().key;
            return context.transaction().execute("INSERT INTO sent VALUES ($1)",
                                                 {std::string_view(text)})
                       ? Verdict::done()
                       : Verdict::retry("no table");
        });
        auto service = Service::create(mail, {clock_, random_, logger_, *brokers_, "p1"}, handlers);
        ASSERT_TRUE(service) << service.error().message;
        services_["mail/p1"] = *std::move(service);
    }

    /// Everything once more.
    void replay() {
        ReplayRequest request;
        request.subscription = "mail.welcome";
        request.partitions = {0};
        const auto connection = connect("mail");
        auto transaction = Transaction::begin(*connection, TransactionMode::kWrite).value();
        ASSERT_TRUE(ask_for_replay(transaction, request));
        ASSERT_TRUE(transaction.commit());
        settle();
    }
};

TEST_F(DirectServiceTest, KeepsReplicasInStepWithoutABroker) {
    insert_users(1, 3000);
    start_all();
    insert_users(3001, 3010);
    expect_in_step();
    run_sql("iam", "DELETE FROM users WHERE id = 7; UPDATE users SET email = 'x' WHERE id = 9");
    const auto waiting = read_status(config("iam"), clock_, *brokers_);
    ASSERT_TRUE(waiting) << waiting.error().message;
    ASSERT_THAT(waiting->subscriptions, SizeIs(3));
    // By topic: the requests come first.
    EXPECT_EQ(waiting->subscriptions[1].events, 2U);
    expect_in_step();
    const auto status = read_status(config("iam"), clock_, *brokers_);
    ASSERT_TRUE(status) << status.error().message;
    for (const SubscriptionLag& lag : status->subscriptions) {
        EXPECT_EQ(lag.events, 0U) << lag.subscription;
    }
    EXPECT_FALSE(std::filesystem::exists(dir_.file("broker.db")));
}

TEST_F(DirectServiceTest, AStoppedFollowerHoldsNobodyUp) {
    insert_users(1, 10);
    start_all();
    expect_in_step();
    stop("crm");
    insert_users(11, 20);
    settle();
    EXPECT_EQ(replica("billing"), source());
    EXPECT_THAT(replica("crm"), SizeIs(10));
    start("crm");
    expect_in_step();
}

TEST_F(DirectServiceTest, ASubscriptionHandlesTheLogAgainWhenItIsAskedTo) {
    start("iam");
    start_mail();
    insert_users(1, 3);
    settle();
    replay();
    insert_users(4, 4);
    settle();
    EXPECT_THAT(query("mail", "SELECT user_id FROM sent"),
                ElementsAre("1", "2", "3", "again 1", "again 2", "again 3", "4"));
    EXPECT_THAT(query("mail", "SELECT state FROM instep_replay"), ElementsAre("done"));
}

TEST_F(DirectServiceTest, AReplayEndsWithTheLastEventThatTheLogHas) {
    start("iam");
    start_mail();
    insert_users(1, 3);
    settle();
    run_sql("iam", "DELETE FROM instep_log WHERE seq = (SELECT max(seq) FROM instep_log)");
    replay();
    EXPECT_THAT(query("mail", "SELECT user_id FROM sent"),
                ElementsAre("1", "2", "3", "again 1", "again 2"));
    EXPECT_THAT(query("mail", "SELECT state FROM instep_replay"), ElementsAre("done"));
}

TEST_F(DirectServiceTest, GoesOnAfterARestartInTheMiddle) {
    write_among_restarts();
    expect_in_step();
    EXPECT_THAT(source(), SizeIs(3108));
}

TEST_F(DirectServiceTest, FillsReplicasAgainWhenTheOwnerWasRestoredFromAnOlderCopy) {
    insert_users(1, 10);
    start_all();
    settle();
    keep_copy("iam");
    insert_users(11, 20);
    run_sql("iam", "DELETE FROM users WHERE id = 3; UPDATE users SET email = 'late' WHERE id = 4");
    settle();
    ASSERT_THAT(replica("crm"), SizeIs(19));
    restore_copy("iam");
    expect_in_step();
    EXPECT_THAT(source(), SizeIs(10));
    EXPECT_EQ(lines_.count("direct.log_was_rewound"), 1U);
}

TEST_F(DirectServiceTest, FillsAReplicaAgainWhenItsOwnDatabaseWasRestored) {
    insert_users(1, 10);
    start_all();
    settle();
    keep_copy("crm");
    run_sql("iam", "UPDATE users SET email = 'late' WHERE id = 4");
    settle();
    restore_copy("crm");
    expect_in_step();
    EXPECT_EQ(lines_.count("service.replica_filled_again"), 1U);
}

TEST_F(DirectServiceTest, FillsReplicasAgainWhenTheOwnerIsAnotherDatabase) {
    insert_users(1, 30);
    run_sql("iam", "UPDATE users SET email = 'old'");
    start_all();
    settle();
    stop_all();
    databases_.clear();
    for (const char* suffix : {"", "-wal", "-shm"}) {
        std::filesystem::remove(dir_.file(fmt::format("iam.db{}", suffix)));
    }
    run_sql("iam",
            "CREATE TABLE users (id INTEGER PRIMARY KEY, username TEXT NOT NULL, "
            "email TEXT, password_hash TEXT)");
    insert_users(5, 8);
    start_all();
    expect_in_step();
    EXPECT_THAT(source(), SizeIs(4));
}

TEST_F(DirectServiceTest, GoesFromABrokerToNoneAndBack) {
    insert_users(1, 10);
    int changes = 0;
    for (const char* broker : {"embedded:broker.db", "direct:", "embedded:broker.db", "direct:"}) {
        SCOPED_TRACE(broker);
        stop_all();
        run_sql("iam", fmt::format("UPDATE users SET email = 'while nobody looks {}'", changes));
        broker_ = broker;
        start_all();
        clock_.advance(60s);
        expect_in_step();
        run_sql("iam", fmt::format("UPDATE users SET email = '{0}' WHERE id = {1}; DELETE FROM "
                                   "users WHERE id = 10 - {1}",
                                   changes, changes + 1));
        ++changes;
        expect_in_step();
    }
}

TEST_F(DirectServiceTest, SaysWhoseFileIsMissing) {
    brokers_ = std::make_unique<Brokers>(clock_);
    ASSERT_TRUE(apply_service(config("crm"), clock_, {}));
    const auto service =
        Service::create(config("crm"), {clock_, random_, logger_, *brokers_, "p1"});
    ASSERT_FALSE(service);
    EXPECT_EQ(service.error().code, ErrorCode::kNotFound);
    EXPECT_THAT(service.error().message, HasSubstr("direct:FILE"));
}

}  // namespace
}  // namespace instep
