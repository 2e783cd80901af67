// Running services with replicas and a subscription, taken from each kind of broker to the next
// while writers go on.
#include "tests/integration/crash/crash_fixture.hpp"
#include "tests/support/kafka_server.hpp"
#include "tests/support/rabbitmq_server.hpp"
#include "tests/support/redis_server.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <csignal>
#include <fstream>
#include <optional>
#include <string>

namespace instep::test {
namespace {

using namespace std::chrono_literals;

class MigrateKinds : public CrashFixture {
protected:
    /// "audit" subscribes to the items, besides what the fixture has. All start on `broker`.
    void given_running_services(const std::string& broker) {
        given_live_replicas();
        filled_ = backfills();
        audited_ = open("audit");
        run_sql(*audited_,
                "CREATE TABLE audited (number INTEGER PRIMARY KEY, event_id TEXT, key TEXT, "
                "version TEXT)");
        start_all_on(broker);
    }

    void start_all_on(const std::string& broker) {
        write_files(broker, broker);
        std::ofstream(folder_.file("audit.toml")) << fmt::format(
            "[service]\nname = \"audit\"\ndatabase = \"{}\"\nbroker = \"{}\"\n"
            "[[subscription]]\nname = \"items\"\ntopic = \"iam.item\"\n",
            url("audit"), broker);
        start(Side::kOwner);
        start(Side::kReplicas);
        audit_ = std::make_unique<Process>(INSTEP_AUDIT_SERVICE, options({"audit.toml"}));
        EXPECT_TRUE(audit_->prints("ready"));
        write_for_a_while();
    }

    void write_for_a_while() {
        int more = 20;
        EXPECT_TRUE(work_until([&] { return --more == 0; }));
    }

    /// All of them go there, come to rest, and start again with files that name it.
    void move_to(const std::string& broker) {
        Process command(INSTEP_PROGRAM, options({"migrate-broker", "iam.toml", "data_owner.toml",
                                                 "audit.toml", "--to", broker, "--timeout", "2m"}));
        EXPECT_TRUE(work_until([&] { return command.has_ended(); }, 2 * kPatience));
        const Finished done = command.wait();
        ASSERT_EQ(done.exit, 0) << done.err;
        write_for_a_while();
        expect_audited_once();
        expect_in_step();
        audit_->signal(SIGTERM);
        const Finished stopped = audit_->wait();
        EXPECT_EQ(stopped.exit, 0) << stopped.err;
        EXPECT_EQ(backfills(), filled_);
    }

    /// Every change that was committed took effect once, and each key's in its order.
    void expect_audited_once() {
        const std::string committed =
            value_of(*owner_, "SELECT count(*) FROM instep_log WHERE topic = 'iam.item'");
        EXPECT_TRUE(eventually([&] {
            return value_of(*audited_, "SELECT count(DISTINCT event_id) FROM audited") == committed;
        })) << "of "
            << committed;
        EXPECT_EQ(value_of(*audited_, "SELECT count(*) FROM audited"), committed);
        EXPECT_EQ(value_of(*audited_,
                           "SELECT count(*) FROM (SELECT version, lag(version) OVER (PARTITION BY "
                           "key ORDER BY number) AS before FROM audited) WHERE version <= before"),
                  "0");
    }

    /// The backfills that were asked for; a change that was lost hides behind one.
    [[nodiscard]] std::vector<std::string> backfills() const {
        return rows_of(*replicas_, "SELECT table_name, backfill FROM instep_replica ORDER BY 1");
    }

    std::vector<std::string> filled_;
    std::unique_ptr<Connection> audited_;
    std::unique_ptr<Process> audit_;
};

TEST_F(MigrateKinds, LosesRepeatsAndReordersNothingFromEachKindToTheNext) {
    given_running_services("embedded:broker.db");
    std::optional<RedisServer> redis(std::in_place);
    ASSERT_NO_FATAL_FAILURE(move_to(redis->url()));

    start_all_on(redis->url());
    std::optional<RabbitmqServer> rabbitmq(std::in_place);
    const std::string amqp = fmt::format("amqp://127.0.0.1:{}/", rabbitmq->port());
    ASSERT_NO_FATAL_FAILURE(move_to(amqp));
    // Who still needed it would be seen.
    redis.reset();

    start_all_on(amqp);
    std::optional<KafkaServer> kafka(std::in_place);
    ASSERT_NO_FATAL_FAILURE(move_to(kafka->url()));
    rabbitmq.reset();

    start_all_on(kafka->url());
    ASSERT_NO_FATAL_FAILURE(move_to("embedded:new.db"));
    kafka.reset();

    start_all_on("embedded:new.db");
    expect_audited_once();
    expect_in_step();
}

}  // namespace
}  // namespace instep::test
