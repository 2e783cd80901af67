#include "tests/integration/cli/cli_fixture.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace instep::test {
namespace {

using testing::HasSubstr;

class PauseTest : public CliTest {
protected:
    [[nodiscard]] Finished caught_up(const std::string& timeout) const {
        return run({"wait", "iam.toml", "data_owner.toml", "--caught-up", "--timeout", timeout});
    }
};

TEST_F(PauseTest, IsHonouredByWhoRunsUntilItIsResumed) {
    given_filled_replica();
    Process services(INSTEP_PROGRAM, options({"run", "iam.toml", "data_owner.toml"}));
    ASSERT_EQ(caught_up("2m").exit, 0);
    const Finished paused = run(
        {"pause", "data_owner.toml", "lookup_users", "--who", "ada", "--reason", "a migration"});
    EXPECT_EQ(paused.exit, 0) << paused.err;
    EXPECT_THAT(paused.out, HasSubstr("data-owner.lookup_users is paused"));
    EXPECT_TRUE(services.complains("paused by ada: a migration"));
    sql("iam.db", "INSERT INTO users VALUES (4, 'joe', NULL, 'w')");
    EXPECT_EQ(caught_up("1s").exit, 124);
    EXPECT_EQ(value("data_owner.db", "SELECT count(*) FROM lookup_users WHERE id = 4"), "0");
    EXPECT_THAT(run({"status", "iam.toml", "data_owner.toml"}).out,
                HasSubstr("is paused by ada: a migration"));
    EXPECT_EQ(run({"resume", "data_owner.toml", "lookup_users"}).exit, 0);
    EXPECT_EQ(caught_up("2m").exit, 0);
    EXPECT_EQ(value("data_owner.db", "SELECT count(*) FROM lookup_users WHERE id = 4"), "1");
}

TEST_F(PauseTest, IsInTheStatusOfServicesThatDoNotRun) {
    given_applied_services();
    const auto paused = run_json(
        {"pause", "data_owner.toml", "data-owner.lookup_users", "--who", "ada"}, "instep.pause/1");
    EXPECT_EQ(paused["subscription"], "data-owner.lookup_users");
    const auto status = run_json({"status", "data_owner.toml"}, "instep.status/1");
    const auto halts = status["services"][0]["halts"];
    ASSERT_EQ(halts.size(), 1U);
    EXPECT_EQ(halts[0]["subscription"], "data-owner.lookup_users");
    EXPECT_EQ(halts[0]["kind"], "paused");
    EXPECT_EQ(halts[0]["reason"], "paused by ada");
    const auto resumed = run_json({"resume", "data_owner.toml", "lookup_users"}, "instep.resume/1");
    EXPECT_EQ(resumed["was_paused"], true);
    const Finished again = run({"resume", "data_owner.toml", "lookup_users"});
    EXPECT_EQ(again.exit, 0);
    EXPECT_THAT(again.out, HasSubstr("was not paused"));
}

TEST_F(PauseTest, AReasonMovesNoCursorOfATerminal) {
    given_filled_replica();
    ASSERT_EQ(run({"pause", "data_owner.toml", "lookup_users", "--reason", "\x1B[2J\nup"}).exit, 0);
    const Finished waited = caught_up("1s");
    EXPECT_EQ(waited.exit, 0) << waited.err;
    EXPECT_THAT(waited.out, HasSubstr("\\x1b[2J\\x0aup"));
}

TEST_F(PauseTest, NamesWhatThereIsWhereTheNameIsNone) {
    given_applied_services();
    for (const char* verb : {"pause", "resume"}) {
        const Finished unknown = run({verb, "data_owner.toml", "lookup_user"});
        EXPECT_EQ(unknown.exit, 5) << verb;
        EXPECT_THAT(unknown.err, HasSubstr("it has lookup_users"));
    }
}

}  // namespace
}  // namespace instep::test
