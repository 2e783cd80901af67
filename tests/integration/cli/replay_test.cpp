#include "tests/integration/cli/cli_fixture.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace instep::test {
namespace {

using testing::HasSubstr;

/// A service "mail" with a subscription to topic iam.user, which has events.
class ReplayCommandTest : public CliTest {
protected:
    void SetUp() override {
        given_filled_replica();
        given_file("mail.toml",
                   "[service]\nname = \"mail\"\ndatabase = \"sqlite:mail.db\"\n"
                   "broker = \"embedded:broker.db\"\n"
                   "[[subscription]]\nname = \"welcome\"\ntopic = \"iam.user\"\n");
        sql("mail.db", "CREATE TABLE sent (id)");
        ASSERT_EQ(run({"apply", "mail.toml"}).exit, 0);
    }

    [[nodiscard]] Finished replay(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), {"replay", "mail.toml"});
        return run(arguments);
    }

    [[nodiscard]] std::string asked() const {
        return value("mail.db", "SELECT count(*) FROM instep_replay WHERE state = 'asked'");
    }
};

TEST_F(ReplayCommandTest, AsksTheProgramOfTheSubscription) {
    const Finished done = replay({"welcome", "--key", "7", "--who", "ada", "--reason", "a fix"});
    EXPECT_EQ(done.exit, 0) << done.err;
    EXPECT_THAT(done.err, HasSubstr("as soon as its program runs"));
    EXPECT_EQ(value("mail.db", "SELECT subscription || key || who || reason FROM instep_replay"),
              "mail.welcome7adaa fix");
    const auto status = run_json({"status", "mail.toml"}, "instep.status/1");
    EXPECT_EQ(status["services"][0]["replays"][0]["state"], "asked");
    EXPECT_THAT(run({"status", "mail.toml"}).out, HasSubstr("REPLAY"));
    EXPECT_EQ(replay({"welcome"}).exit, 6) << "one at a time";
}

TEST_F(ReplayCommandTest, ADryRunAsksForNothing) {
    const auto shown = run_json({"replay", "mail.toml", "welcome", "--dry-run"}, "instep.replay/1");
    EXPECT_EQ(shown["asked"], false);
    EXPECT_EQ(shown["partitions"].size(), 1U);
    EXPECT_FALSE(shown["partitions"][0]["kept_since"].is_null());
    EXPECT_EQ(asked(), "0");
}

TEST_F(ReplayCommandTest, RefusesWhatItCannotDo) {
    const Finished unknown = replay({"welcom"});
    EXPECT_EQ(unknown.exit, 5);
    EXPECT_THAT(unknown.err, HasSubstr("did you mean \"welcome\"?"));
    EXPECT_EQ(replay({"welcome", "--from", "yesterday"}).exit, 2);
    EXPECT_EQ(replay({"welcome", "--partition", "9"}).exit, 5);
    const Finished replica = run({"replay", "data_owner.toml", "lookup_users"});
    EXPECT_EQ(replica.exit, 2);
    EXPECT_THAT(replica.err, HasSubstr("`instep backfill data_owner.toml lookup_users`"));
    EXPECT_EQ(asked(), "0");
}

TEST_F(ReplayCommandTest, RefusesWhatTheBrokerHasDeleted) {
    sql("broker.db",
        "DELETE FROM instep_message WHERE position = (SELECT min(position) FROM "
        "instep_message m JOIN instep_slot s ON m.position >> 40 = s.id "
        "WHERE s.topic = 'iam.user')");
    const Finished refused = replay({"welcome", "--from", "0"});
    EXPECT_EQ(refused.exit, 5);
    EXPECT_THAT(refused.err, HasSubstr("no longer kept"));
    EXPECT_EQ(replay({"welcome", "--from", "2000-01-01T00:00:00Z"}).exit, 5);
    EXPECT_EQ(replay({"welcome"}).exit, 0);
}

TEST_F(ReplayCommandTest, WithoutABrokerThePastIsTheLog) {
    given_file("mail.toml",
               "[service]\nname = \"mail\"\ndatabase = \"sqlite:mail.db\"\nbroker = \"direct:\"\n"
               "[[subscription]]\nname = \"welcome\"\ntopic = \"mail.letter\"\n");
    sql("mail.db",
        "INSERT INTO instep_log (topic, key, type, data) VALUES "
        "('mail.letter', '1', 'letter.sent', '{}')");
    const auto shown = run_json({"replay", "mail.toml", "welcome", "--dry-run"}, "instep.replay/1");
    EXPECT_FALSE(shown["partitions"][0]["kept_since"].is_null());
    EXPECT_EQ(replay({"welcome"}).exit, 0);
    EXPECT_EQ(asked(), "1");
}

}  // namespace
}  // namespace instep::test
