#include "instep/service/monitor.hpp"
#include "tests/support/service_fixture.hpp"

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::ServiceTest;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST_F(ServiceTest, KeepsReplicasEqualThroughInsertsUpdatesAndDeletes) {
    start_all();
    insert_users(1, 50);
    settle();
    EXPECT_THAT(source(), SizeIs(50));
    run_sql("iam",
            "UPDATE users SET email = 'new' WHERE id % 3 = 0; DELETE FROM users WHERE id % 5 = 0;"
            "UPDATE users SET id = 1001 WHERE id = 7");
    settle();
    EXPECT_THAT(source(), SizeIs(40));
    EXPECT_EQ(replica("billing"), source());
    EXPECT_EQ(replica("crm"), source());
}

TEST_F(ServiceTest, ForgetsWhatItRemembersOnceItIsOldEnough) {
    insert_users(1, 10);
    Monitor monitor(clock_, random_, logger_, "p1");
    ASSERT_TRUE(apply_service(config("iam"), clock_, {}));
    services_["iam/p1"] =
        Service::create(config("iam"), {clock_, random_, logger_, *brokers_, "p1", &monitor})
            .value();
    start("crm");
    settle();
    ASSERT_THAT(query("iam", "SELECT state FROM instep_scan"), ElementsAre("done"));
    clock_.advance(std::chrono::days{6});
    settle();
    EXPECT_THAT(query("iam", "SELECT state FROM instep_scan"), SizeIs(1)) << "memory_retention";
    clock_.advance(std::chrono::days{2});
    settle();
    EXPECT_THAT(query("iam", "SELECT state FROM instep_scan"), IsEmpty());
    EXPECT_EQ(monitor.metrics()
                  .counter("instep_trimmed_total", "", {{"service", "iam"}, {"what", "scans"}})
                  .value(),
              1U);
    insert_users(11, 20);
    settle();
    EXPECT_EQ(replica("crm"), source());
    stop_all();
}

TEST_F(ServiceTest, FillsReplicasWithRowsFromBefore) {
    insert_users(1, 5000);
    start_all();
    settle();
    EXPECT_THAT(source(), SizeIs(5000));
    EXPECT_EQ(replica("billing"), source());
    EXPECT_EQ(replica("crm"), source());
}

TEST_F(ServiceTest, FillsAReplicaThatIsAddedLater) {
    start("iam");
    start("billing");
    insert_users(1, 20);
    settle();
    insert_users(21, 30);
    start("crm");
    settle();
    EXPECT_EQ(replica("crm"), source());
    EXPECT_EQ(replica("billing"), source());
}

TEST_F(ServiceTest, LetsNoPrivateColumnReachTheBroker) {
    insert_users(1, 20);
    start_all();
    insert_users(21, 40);
    settle();
    ASSERT_THAT(replica("crm"), SizeIs(40));
    stop_all();
    std::string bytes;
    for (const auto& file : std::filesystem::directory_iterator(dir_.path())) {
        if (file.path().filename().string().starts_with("broker.db")) {
            std::ifstream stream(file.path(), std::ios::binary);
            bytes.append(std::istreambuf_iterator<char>(stream), {});
        }
    }
    EXPECT_THAT(bytes, HasSubstr("user33"));
    EXPECT_EQ(bytes.find("secret-hash"), std::string::npos);
    EXPECT_EQ(bytes.find("password_hash"), std::string::npos);
}

TEST_F(ServiceTest, GoesOnAfterARestartInTheMiddle) {
    write_among_restarts();
    expect_in_step();
    EXPECT_THAT(source(), SizeIs(3108));
}

TEST_F(ServiceTest, StandsByWhileAnotherProcessRelaysAndTakesOver) {
    start("billing");
    start("iam", "p1");
    insert_users(1, 5);
    settle();
    Service& second = start("iam", "p2");
    settle();
    EXPECT_EQ(flow(second, "relay").state, "standby");
    EXPECT_EQ(read_status(config("iam"), clock_, *brokers_)->relay_owner, "p1");

    stop("iam", "p1");
    insert_users(6, 9);
    clock_.advance(1s);
    settle();
    EXPECT_EQ(flow(second, "relay").state, "idle");
    EXPECT_EQ(flow(second, "relay").events, 4U);
    EXPECT_EQ(read_status(config("iam"), clock_, *brokers_)->relay_owner, "p2");
    EXPECT_EQ(replica("billing"), source());
}

TEST_F(ServiceTest, TakesOverFromAProcessThatFellSilent) {
    start("iam", "p1");
    Service& second = start("iam", "p2");
    settle();
    insert_users(1, 3);
    EXPECT_EQ(second.run_once(), 0U);
    EXPECT_EQ(second.run_once(), 0U);
    clock_.advance(11s);
    EXPECT_EQ(second.run_once(), 3U);
}

TEST_F(ServiceTest, FillsReplicasAgainWhenTheOwnerWasRestoredFromAnOlderCopy) {
    insert_users(1, 10);
    start_all();
    settle();
    keep_copy("iam");
    insert_users(11, 20);
    run_sql("iam", "DELETE FROM users WHERE id = 3; UPDATE users SET email = 'late' WHERE id = 4");
    settle();
    ASSERT_THAT(replica("crm"), SizeIs(19));
    restore_copy("iam");
    settle();
    EXPECT_THAT(source(), SizeIs(10));
    EXPECT_EQ(lines_.count("relay.log_was_rewound"), 1U);
    EXPECT_EQ(replica("billing"), source());
    EXPECT_EQ(replica("crm"), source());
}

TEST_F(ServiceTest, GoesOnInEveryPartitionAfterTheOwnerWasRestored) {
    partitions_ = {{"iam", 4}};
    insert_users(1, 100);
    start_all();
    settle();
    keep_copy("iam");
    run_sql("iam", "UPDATE users SET email = 'lost'; UPDATE users SET email = 'lost too'");
    settle();
    restore_copy("iam");
    settle();
    run_sql("iam", "UPDATE users SET email = 'kept'");
    settle();
    EXPECT_THAT(replica("crm"), Contains("77|user77|kept"));
    EXPECT_EQ(replica("billing"), source());
    EXPECT_EQ(replica("crm"), source());
}

TEST_F(ServiceTest, FillsAReplicaAgainWhenItsOwnDatabaseWasRestored) {
    insert_users(1, 10);
    start_all();
    settle();
    keep_copy("crm");
    run_sql("iam", "DELETE FROM users WHERE id = 3; UPDATE users SET email = 'late' WHERE id = 4");
    settle();
    restore_copy("crm");
    settle();
    EXPECT_EQ(replica("crm"), source());
    EXPECT_EQ(lines_.count("service.replica_filled_again"), 1U);
}

TEST_F(ServiceTest, ServicesMayHaveDifferentNumbersOfPartitions) {
    partitions_ = {{"iam", 4}, {"billing", 1}, {"crm", 3}};
    insert_users(1, 500);
    start_all();
    insert_users(501, 600);
    expect_in_step();
}

TEST_F(ServiceTest, FillsReplicasAgainWhenTheBrokerWasReplaced) {
    start_all();
    insert_users(1, 10);
    settle();
    stop("billing");
    run_sql("iam", "DELETE FROM users WHERE id = 3");
    services_.at("iam/p1")->run_once().value();
    stop_all();
    for (const char* name : {"broker.db", "broker.db-wal", "broker.db-shm"}) {
        std::filesystem::remove(dir_.file(name));
    }
    start_all();
    expect_in_step();
}

TEST_F(ServiceTest, DoesNotRunBeforeItsFileIsInForce) {
    const auto before = create("iam", "p1");
    ASSERT_FALSE(before);
    EXPECT_EQ(before.error().code, ErrorCode::kSchemaMismatch);
    EXPECT_THAT(before.error().message, HasSubstr("run `instep apply`"));
    start("iam");
    stop("iam");
    ServiceConfig changed = config("iam");
    changed.publish[0].columns = {"id", "username"};
    const auto other = Service::create(changed, {clock_, random_, logger_, *brokers_, "p1"});
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, ErrorCode::kSchemaMismatch);
    EXPECT_THAT(other.error().message, HasSubstr("change the contract of user"));
}

TEST_F(ServiceTest, DoesNotRunAReplicaBeforeItsNewColumnsAreApplied) {
    start("iam");
    start("billing");
    settle();
    stop("billing");
    ServiceConfig changed = config("billing");
    changed.replicas[0].columns = {{"id", "id"}, {"username", "name"}};
    const auto service = Service::create(changed, {clock_, random_, logger_, *brokers_, "p1"});
    ASSERT_FALSE(service);
    EXPECT_EQ(service.error().code, ErrorCode::kSchemaMismatch);
    EXPECT_THAT(service.error().message, HasSubstr("fill replica lookup_users again"));
}

TEST_F(ServiceTest, ShowsAFlowThatFailsAndGoesOnWhenItCan) {
    start("iam");
    Service& billing = start("billing");
    insert_users(1, 3);
    settle();
    run_sql("billing", "ALTER TABLE instep_progress RENAME TO away");
    insert_users(4, 5);
    services_.at("iam/p1")->run_once().value();
    EXPECT_FALSE(billing.run_once());
    EXPECT_EQ(flow(billing, "replica lookup_users").state, "failing");
    EXPECT_THAT(flow(billing, "replica lookup_users").error, HasSubstr("instep_progress"));
    EXPECT_EQ(flow(billing, "relay").error, "");
    run_sql("billing", "ALTER TABLE away RENAME TO instep_progress");
    settle();
    EXPECT_EQ(flow(billing, "replica lookup_users").state, "idle");
    EXPECT_EQ(replica("billing"), source());
}

TEST_F(ServiceTest, CallsAFlowFailingThatDoesNotMoveAlthoughThereIsWork) {
    Service& iam = start("iam");
    settle();
    run_sql("iam",
            "UPDATE instep_lease SET owner = 'ghost', until_us = 9000000000000000, "
            "epoch = epoch + 1");
    insert_users(1, 3);
    // What it still publishes it cannot confirm.
    step();
    step();
    EXPECT_EQ(flow(iam, "relay").state, "standby");
    for (int i = 0; i < 3; ++i) {
        clock_.advance(30s);
        step();
    }
    EXPECT_EQ(flow(iam, "relay").state, "failing");
    EXPECT_EQ(flow(iam, "relay").error, "3 events wait, and none has moved for 60 s");
    run_sql("iam", "UPDATE instep_lease SET until_us = 0");
    clock_.advance(30s);
    settle();
    EXPECT_EQ(flow(iam, "relay").state, "idle");
    EXPECT_EQ(flow(iam, "relay").error, "");
}

TEST_F(ServiceTest, ForgetsWhatIsOldAndRelayed) {
    start_all();
    insert_users(1, 3);
    settle();
    run_sql("iam", "UPDATE instep_log SET time_us = 0");
    insert_users(4, 4);
    run_sql("iam", "UPDATE instep_log SET time_us = 0 WHERE key = '4'");
    clock_.advance(6s);
    stop("iam");
    EXPECT_THAT(query("iam", "SELECT key FROM instep_log"), ElementsAre("1", "2", "3", "4"));
    start("iam");
    clock_.advance(6s);
    settle();
    clock_.advance(6s);
    settle();
    EXPECT_THAT(query("iam", "SELECT key FROM instep_log"), IsEmpty());
    EXPECT_EQ(replica("crm"), source());
}

TEST_F(ServiceTest, KeepsTombstonesForAsLongAsAnEventMayComeAgain) {
    start("iam");
    start("billing");
    insert_users(1, 3);
    settle();
    run_sql("iam", "DELETE FROM users WHERE id = 2");
    settle();
    const std::string_view tombstones = "SELECT key FROM instep_tombstone";
    clock_.advance(24h * 6);
    settle();
    EXPECT_THAT(query("billing", tombstones), ElementsAre("2"));
    clock_.advance(25h);
    settle();
    EXPECT_THAT(query("billing", tombstones), IsEmpty());
}

TEST_F(ServiceTest, KeepsTombstonesLongerWhileOldEventsWait) {
    start("iam");
    Service& billing = start("billing");
    insert_users(1, 3);
    settle();
    run_sql("iam", "DELETE FROM users WHERE id = 2");
    settle();
    run_sql("billing", "ALTER TABLE instep_progress RENAME TO away");
    insert_users(4, 4);
    run_sql("iam", fmt::format("UPDATE instep_log SET time_us = {} WHERE key = '4'",
                               (clock_.now() - 1h).time_since_epoch().count()));
    services_.at("iam/p1")->run_once().value();
    clock_.advance(24h * 8);
    EXPECT_FALSE(billing.run_once());
    EXPECT_THAT(query("billing", "SELECT key FROM instep_tombstone"), ElementsAre("2"));
}

TEST_F(ServiceTest, RunsOnThreadsUntilItIsStopped) {
    start_all();
    // The table comes with the first rows, which are there before a replica can be live.
    insert_users(1, 100);
    for (const auto& [name, service] : services_) {
        service->start();
    }
    const auto equal = [&] { return replica("billing") == source() && replica("crm") == source(); };
    ASSERT_TRUE(test::eventually([&] {
        return query("billing", "SELECT state FROM instep_replica") ==
                   std::vector<std::string>{"live"} &&
               query("crm", "SELECT state FROM instep_replica") == std::vector<std::string>{"live"};
    }));
    EXPECT_TRUE(test::eventually(equal));
    run_sql("iam", "DELETE FROM users WHERE id % 2 = 0");
    EXPECT_TRUE(test::eventually(equal));
    for (const auto& [name, service] : services_) {
        const auto stopped = service->stop(test::kPatience);
        EXPECT_TRUE(stopped) << stopped.error().message;
        for (const FlowStatus& status : service->flows()) {
            EXPECT_EQ(status.state, "stopped") << status.name;
        }
        EXPECT_EQ(service->run_once().error().code, ErrorCode::kClosed);
    }
    EXPECT_EQ(read_status(config("iam"), clock_, *brokers_)->relay_owner, std::nullopt);
}

TEST_F(ServiceTest, TellsHowItStands) {
    EXPECT_EQ(read_status(config("iam"), clock_, *brokers_).error().code,
              ErrorCode::kSchemaMismatch);
    start_all();
    insert_users(1, 3);
    for (int i = 0; i < 2; ++i) {
        services_.at("iam/p1")->run_once().value();
    }
    auto status = read_status(config("iam"), clock_, *brokers_);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(status->service, "iam");
    EXPECT_EQ(status->log_lag.events, 0U);
    const auto billing = std::ranges::find(status->subscriptions, "billing.lookup_users",
                                           &SubscriptionLag::subscription);
    ASSERT_NE(billing, status->subscriptions.end());
    EXPECT_EQ(billing->events, 3U);
    settle();
    status = read_status(config("billing"), clock_, *brokers_);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_THAT(status->subscriptions, SizeIs(1));
    EXPECT_EQ(status->subscriptions[0].events, 0U);
    ASSERT_THAT(status->replicas, SizeIs(1));
    EXPECT_EQ(status->replicas[0].state, ReplicaState::kLive);
    EXPECT_THAT(status->parked, IsEmpty());
}

}  // namespace
}  // namespace instep
