#include "instep/capture/capture.hpp"

#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using test::rows_of;
using test::SyncSystem;
using test::value_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class CaptureTest : public testing::Test {
protected:
    CaptureTest() {
        system.owner_sql(
            "CREATE TABLE users (id TEXT NOT NULL PRIMARY KEY, name TEXT COLLATE NOCASE, "
            "email TEXT UNIQUE, password_hash TEXT);"
            "CREATE TABLE members (team INTEGER NOT NULL, user TEXT NOT NULL, role TEXT, "
            "PRIMARY KEY (team, user))");
    }

    static PublishEntry users() { return {"users", "user", {"id"}, {"id", "name", "email"}, {}}; }
    static PublishEntry members() {
        return {"members", "member", {"team", "user"}, {"team", "user", "role"}, {}};
    }

    [[nodiscard]] std::vector<std::string> log() const {
        return rows_of(*system.owner,
                       "SELECT type || ' ' || key || ' ' || data FROM instep_log ORDER BY seq");
    }

    [[nodiscard]] std::vector<std::string> planned(const std::vector<PublishEntry>& entries) const {
        const auto changes = plan_capture(*system.owner, "iam", entries);
        EXPECT_TRUE(changes);
        std::vector<std::string> summaries;
        for (const SchemaChange& change : *changes) {
            summaries.push_back(change.summary);
        }
        return summaries;
    }

    SyncSystem system;
};

TEST_F(CaptureTest, AppendsWhatHappenedWithAllowedColumnsOnly) {
    system.publish({users()});
    system.owner_sql(
        "INSERT INTO users VALUES ('a', 'Ann', 'ann@x', 'hash-1');"
        "UPDATE users SET name = 'Anna', password_hash = 'hash-2';"
        "DELETE FROM users");
    EXPECT_THAT(log(), ElementsAre(R"(user.created a {"id":"a","name":"Ann","email":"ann@x"})",
                                   R"(user.updated a {"id":"a","name":"Anna","email":"ann@x"})",
                                   R"(user.deleted a {"id":"a"})"));
}

TEST_F(CaptureTest, AChangeOfPrivateColumnsIsNoEvent) {
    system.publish({users()});
    system.owner_sql("INSERT INTO users VALUES ('a', 'Ann', 'ann@x', 'hash-1')");
    system.owner_sql("UPDATE users SET password_hash = 'hash-2'");
    EXPECT_EQ(log().size(), 1U);
}

TEST_F(CaptureTest, AChangeOfCaseOnlyIsAnEventAlsoInACaseBlindColumn) {
    system.publish({users()});
    system.owner_sql(
        "INSERT INTO users VALUES ('a', 'ann', 'x', ''); UPDATE users SET name = 'ANN'");
    EXPECT_EQ(log().size(), 2U);
}

TEST_F(CaptureTest, AChangedKeyIsADeleteAndACreate) {
    system.publish({members()});
    system.owner_sql("INSERT INTO members VALUES (1, 'a', 'lead'); UPDATE members SET team = 2");
    EXPECT_THAT(log(),
                ElementsAre(R"(member.created [1,"a"] {"team":1,"user":"a","role":"lead"})",
                            R"(member.deleted [1,"a"] {"team":1,"user":"a"})",
                            R"(member.created [2,"a"] {"team":2,"user":"a","role":"lead"})"));
}

TEST_F(CaptureTest, TextThatAJsonFunctionMadeIsText) {
    system.publish({members()});
    system.owner_sql(
        "INSERT INTO members VALUES (1, json_array(2), json_object('may', 'write'));"
        "UPDATE members SET role = json_insert('[]', '$[#]', 5)");
    EXPECT_THAT(log(), ElementsAre(R"(member.created [1,"[2]"] )"
                                   R"({"team":1,"user":"[2]","role":"{\"may\":\"write\"}"})",
                                   R"(member.updated [1,"[2]"] )"
                                   R"({"team":1,"user":"[2]","role":"[5]"})"));
}

TEST_F(CaptureTest, ANewColumnStaysPrivate) {
    system.publish({users()});
    system.owner_sql(
        "ALTER TABLE users ADD COLUMN mfa_secret TEXT;"
        "INSERT INTO users VALUES ('a', 'Ann', 'ann@x', 'hash', 'mfa')");
    EXPECT_THAT(log(), ElementsAre(Not(HasSubstr("mfa"))));
    EXPECT_THAT(planned({users()}), IsEmpty());
}

TEST_F(CaptureTest, CascadesAndMultiRowStatementsAreCaptured) {
    system.owner_sql(
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, owner TEXT REFERENCES users ON DELETE "
        "CASCADE)");
    system.publish({users(), {"notes", "note", {"id"}, {"id", "owner"}, {}}});
    system.owner_sql(
        "INSERT INTO users VALUES ('a', 'Ann', 'ann@x', '');"
        "INSERT INTO notes VALUES (1, 'a'), (2, 'a'); DELETE FROM users");
    EXPECT_EQ(
        value_of(*system.owner, "SELECT count(*) FROM instep_log WHERE type = 'note.deleted'"),
        "2");
}

TEST_F(CaptureTest, ARolledBackChangeIsNoEvent) {
    system.publish({users()});
    system.owner_sql("BEGIN; INSERT INTO users VALUES ('a', 'Ann', 'x', ''); ROLLBACK");
    EXPECT_THAT(log(), IsEmpty());
}

TEST_F(CaptureTest, EventsCarryTheWritersContext) {
    system.publish({users()});
    system.owner_sql(
        "BEGIN; UPDATE instep_context SET correlation_id = 'req-1', trace_parent = '00-aa';"
        "INSERT INTO users VALUES ('a', 'Ann', 'x', '');"
        "UPDATE instep_context SET correlation_id = NULL, trace_parent = NULL; COMMIT");
    EXPECT_EQ(value_of(*system.owner, "SELECT correlation_id, trace_parent FROM instep_log"),
              "req-1|00-aa");
}

TEST_F(CaptureTest, AnEmptiedContextLosesNoEvent) {
    system.publish({users()});
    system.owner_sql("DELETE FROM instep_context; INSERT INTO users VALUES ('a', 'Ann', 'x', '')");
    EXPECT_EQ(log().size(), 1U);
}

TEST_F(CaptureTest, OddNamesAreQuoted) {
    system.owner_sql(R"(CREATE TABLE "or""der's" ("i d" INTEGER PRIMARY KEY, "va'l""ue" TEXT))");
    system.publish({{"or\"der's", "order", {"i d"}, {"i d", "va'l\"ue"}, {}}});
    system.owner_sql(R"(INSERT INTO "or""der's" VALUES (1, 'x'))");
    EXPECT_THAT(log(), ElementsAre(R"(order.created 1 {"i d":1,"va'l\"ue":"x"})"));
}

TEST_F(CaptureTest, PlansNothingWhenAllIsInForce) {
    system.publish({users(), members()});
    EXPECT_THAT(planned({users(), members()}), IsEmpty());
}

TEST_F(CaptureTest, AChangedContractGetsTheNextVersion) {
    system.publish({users()});
    PublishEntry wider = users();
    wider.columns.emplace_back("password_hash");
    EXPECT_THAT(planned({wider}),
                testing::Contains("change the contract of user from version 1 to 2"));
    EXPECT_THAT(planned({users()}), IsEmpty()) << "planning changed something";
    system.publish({wider});
    const auto contracts = contracts_in_force(*system.owner);
    ASSERT_TRUE(contracts);
    EXPECT_EQ(contracts->front().schema(), "iam.user/2");
}

TEST_F(CaptureTest, AWithdrawnContractStopsPublishing) {
    system.publish({users()});
    system.publish({});
    system.owner_sql("INSERT INTO users VALUES ('a', 'Ann', 'x', '')");
    EXPECT_THAT(log(), IsEmpty());
}

TEST_F(CaptureTest, ALostTriggerIsNoticed) {
    system.publish({users()});
    system.owner_sql("DROP TRIGGER instep_capture_user_update");
    EXPECT_THAT(planned({users()}),
                ElementsAre("create trigger instep_capture_user_update on users"));
}

TEST_F(CaptureTest, PreflightNamesWhatIsRisky) {
    PublishEntry risky = users();
    risky.columns.emplace_back("password_hash");
    const std::vector entries = {risky};
    const auto findings = preflight(*system.owner, "iam", entries);
    ASSERT_TRUE(findings);
    std::string all;
    for (const Finding& finding : *findings) {
        all += finding.message + "\n";
    }
    EXPECT_THAT(all, HasSubstr("password_hash leaves the service"));
    EXPECT_THAT(all, HasSubstr("unique indexes"));
}

}  // namespace
}  // namespace instep
