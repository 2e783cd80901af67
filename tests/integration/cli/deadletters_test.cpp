#include "instep/event/cloudevents.hpp"
#include "tests/integration/cli/cli_fixture.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace instep::test {
namespace {

using testing::HasSubstr;

/// A consumer with a key that is dead, one that is tried again, and three events.
class DeadLettersCommandTest : public CliTest {
protected:
    void SetUp() override {
        given_applied_services();
        Event event;
        event.id = "e1";
        event.source = "shop";
        event.type = "order.placed";
        event.key = "o-1";
        event.version = {.epoch = 1, .batch = 1, .index = 0};
        event.data = R"({"to":"x"})";
        std::string script = R"sql(
            INSERT INTO instep_parked_key (subscription, key, attempts, next_try_us, error_code,
                error_message, parked_us, failed_us, dead_us) VALUES
                ('data-owner.mail', 'o-1', 10, 0, 'rejected', 'no such address', 1, 2, 3),
                ('data-owner.mail', 'o-2', 1, 9000000000000000, 'rejected', 'busy', 1, 2, NULL);
            INSERT INTO instep_parked_event (subscription, key, partition, position, envelope,
                parked_us) VALUES
                ('data-owner.mail', 'o-1', 0, 1, $event$, 1),
                ('data-owner.mail', 'o-1', 0, 2, '{"broken', 1),
                ('data-owner.mail', 'o-2', 0, 3, '{}', 1);
        )sql";
        script.replace(script.find("$event$"), 7, fmt::format("'{}'", to_json(event)));
        sql("data_owner.db", script);
    }

    [[nodiscard]] Finished deadletters(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), "deadletters");
        return run(arguments);
    }

    [[nodiscard]] std::string dead() const {
        return value("data_owner.db",
                     "SELECT count(*) FROM instep_parked_key WHERE dead_us IS NOT NULL");
    }
};

TEST_F(DeadLettersCommandTest, ListsWhatWaitsForAPerson) {
    const auto listed =
        run_json({"deadletters", "list", "data_owner.toml"}, "instep.deadletters/1");
    ASSERT_EQ(listed["keys"].size(), 1U);
    EXPECT_EQ(listed["keys"][0]["key"], "o-1");
    EXPECT_EQ(listed["keys"][0]["events"], "2");
    EXPECT_FALSE(listed["keys"][0]["dead"].is_null());
    const Finished all = deadletters({"list", "data_owner.toml", "--retried-too"});
    EXPECT_THAT(all.out, HasSubstr("o-2"));
}

TEST_F(DeadLettersCommandTest, ShowsTheEventsAsTheyCame) {
    const auto shown = run_json({"deadletters", "show", "data_owner.toml", "--key", "o-1"},
                                "instep.deadletters.key/1");
    ASSERT_EQ(shown["events"].size(), 2U);
    EXPECT_THAT(shown["events"][0]["envelope"].get<std::string>(), HasSubstr("\"to\":\"x\""));
    EXPECT_EQ(shown["events"][1]["envelope"], "{\"broken");
    EXPECT_EQ(deadletters({"show", "data_owner.toml", "--key", "o-9"}).exit, 5);
    EXPECT_EQ(deadletters({"show", "data_owner.toml"}).exit, 2);
}

TEST_F(DeadLettersCommandTest, ActsOnNothingUnlessToldOnWhat) {
    for (const char* verb : {"retry", "discard"}) {
        const Finished refused = deadletters({verb, "data_owner.toml"});
        EXPECT_EQ(refused.exit, 2);
        EXPECT_THAT(refused.err, HasSubstr("--all"));
    }
    EXPECT_EQ(deadletters({"retry", "data_owner.toml", "--key", "o-1", "--dry-run"}).exit, 0);
    EXPECT_EQ(dead(), "1");
    EXPECT_EQ(deadletters({"retry", "data_owner.toml", "--key", "o-2"}).exit, 5)
        << "it is not dead";
}

TEST_F(DeadLettersCommandTest, RetriesAndRecordsWhoSaidSo) {
    const Finished retried = deadletters({"retry", "data_owner.toml", "--error", "address", "--who",
                                          "ada", "--reason", "the address is known now"});
    EXPECT_EQ(retried.exit, 0) << retried.err;
    EXPECT_EQ(dead(), "0");
    const auto record =
        run_json({"deadletters", "record", "data_owner.toml"}, "instep.deadletters.record/1");
    ASSERT_EQ(record["actions"].size(), 1U);
    EXPECT_EQ(record["actions"][0]["who"], "ada");
    EXPECT_EQ(record["actions"][0]["reason"], "the address is known now");
}

TEST_F(DeadLettersCommandTest, DiscardsOneEventAndKeepsItInTheRecord) {
    EXPECT_EQ(deadletters({"discard", "data_owner.toml", "--key", "o-1"}).exit, 0);
    EXPECT_EQ(value("data_owner.db",
                    "SELECT count(*) FROM instep_parked_event WHERE discarded_us IS NOT NULL"),
              "1");
    const auto record =
        run_json({"deadletters", "record", "data_owner.toml"}, "instep.deadletters.record/1");
    EXPECT_THAT(record["actions"][0]["envelope"].get<std::string>(), HasSubstr("\"id\":\"e1\""));
}

TEST_F(DeadLettersCommandTest, EditsOnlyToWhatCanBeRead) {
    const std::string number =
        value("data_owner.db", "SELECT min(number) FROM instep_parked_event");
    const auto edit = [&](const std::string& data) {
        return deadletters({"edit", "data_owner.toml", "--number", number, "--data", data});
    };
    EXPECT_EQ(edit("{not json").exit, 2);
    EXPECT_EQ(dead(), "1");
    EXPECT_EQ(edit(R"({"to":"ada@example.org"})").exit, 0);
    EXPECT_EQ(dead(), "0");
    EXPECT_THAT(
        value("data_owner.db", "SELECT envelope FROM instep_parked_event WHERE number = " + number),
        HasSubstr("ada@example.org"));
    EXPECT_EQ(deadletters({"edit", "data_owner.toml", "--number", "99", "--data", "{}"}).exit, 5);
}

TEST_F(DeadLettersCommandTest, ShowsAndRetriesWhatWasSkipped) {
    sql("data_owner.db",
        "UPDATE instep_parked_event SET skipped_us = 5, attempts = 2, error_message = 'too large' "
        "WHERE key = 'o-2'; DELETE FROM instep_parked_key WHERE key = 'o-2'");
    const auto listed =
        run_json({"deadletters", "list", "data_owner.toml"}, "instep.deadletters/1");
    ASSERT_EQ(listed["keys"].size(), 2U);
    EXPECT_EQ(listed["keys"][1]["key"], "o-2");
    EXPECT_FALSE(listed["keys"][1]["skipped"].is_null());
    EXPECT_TRUE(listed["keys"][1]["dead"].is_null());
    const Finished shown = deadletters({"show", "data_owner.toml", "--key", "o-2"});
    EXPECT_THAT(shown.out, HasSubstr("(skipped)"));
    EXPECT_EQ(deadletters({"retry", "data_owner.toml", "--error", "too large"}).exit, 0);
    EXPECT_EQ(value("data_owner.db",
                    "SELECT count(*) FROM instep_parked_event WHERE skipped_us IS NOT NULL"),
              "0");
    EXPECT_EQ(value("data_owner.db", "SELECT attempts FROM instep_parked_key WHERE key = 'o-2'"),
              "0");
}

}  // namespace
}  // namespace instep::test
