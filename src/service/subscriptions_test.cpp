// Subscriptions of a service, with code.
#include "tests/support/service_fixture.hpp"

#include <fstream>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::ServiceTest;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// A service "mail" with code for the users of "iam".
class ServiceWithCodeTest : public ServiceTest {
protected:
    [[nodiscard]] ServiceConfig mail() const {
        return parse_service_file(
                   "[service]\nname = 'mail'\ndatabase = 'sqlite:mail.db'\n"
                   "broker = 'embedded:broker.db'\n"
                   "[[subscription]]\nname = 'welcome'\ntopic = 'iam.user'\n"
                   "attempts = 2\ncircuit_failures = 2\ncircuit_open_for = '7s'\n",
                   dir_.file("mail.toml"), process_environment())
            .value();
    }

    /// "mail" promises mails, each with the address that it went to.
    void given_contract() const {
        std::ofstream(dir_.file("mail.json"))
            << R"({"$defs": {"mail.sent": {"properties": {"to": {"type": "string"}},)"
               R"("required": ["to"]}}})";
    }

    Result<std::unique_ptr<Service>> create_mail(Handlers handlers) {
        return Service::create(mail(), {clock_, random_, logger_, *brokers_, "p1"},
                               std::move(handlers));
    }

    Handlers welcome() {
        Handlers handlers;
        handlers["welcome"].on("user.created", [this](HandlerContext& context) {
            ++calls_;
            if (is_unavailable_) {
                return Verdict::unavailable("no mail server");
            }
            if (is_down_) {
                return Verdict::retry("the mail server is down");
            }
            return context.transaction().execute("INSERT INTO sent VALUES ($1)",
                                                 {std::string_view(context.event().key)})
                       ? Verdict::done()
                       : Verdict::retry("no table");
        });
        return handlers;
    }

    void start_mail() {
        run_sql("mail", "CREATE TABLE sent (user_id TEXT)");
        ASSERT_TRUE(apply_service(mail(), clock_, {}));
        auto service = create_mail(welcome());
        ASSERT_TRUE(service) << service.error().message;
        services_["mail/p1"] = std::move(service).value();
    }

    bool is_down_ = false;
    bool is_unavailable_ = false;
    int calls_ = 0;
};

TEST_F(ServiceWithCodeTest, RunsTheCodeOfASubscription) {
    start("iam");
    start_mail();
    run_sql("iam", "INSERT INTO users VALUES (1, 'ada', NULL, 'secret')");
    settle();
    EXPECT_THAT(query("mail", "SELECT user_id FROM sent"), ElementsAre("1"));
    run_sql("iam", "UPDATE users SET username = 'ada l' WHERE id = 1");
    settle();
    EXPECT_THAT(query("mail", "SELECT user_id FROM sent"), ElementsAre("1"));
    EXPECT_THAT(query("mail", "SELECT CAST(sum(not_addressed) AS TEXT) FROM instep_progress"),
                ElementsAre("1"));
}

TEST_F(ServiceWithCodeTest, AWriterDoesNotWaitForAHandler) {
    start("iam");
    run_sql("mail", "CREATE TABLE sent (user_id TEXT)");
    ASSERT_TRUE(apply_service(mail(), clock_, {}));
    Handlers handlers;
    bool is_written_meanwhile = false;
    handlers["welcome"].on("user.created", [&](HandlerContext& context) {
        if (context.event().key == "1") {
            // The handler is under way, its own transaction open.
            run_sql("iam", "INSERT INTO users VALUES (2, 'grace', NULL, 'secret')");
            is_written_meanwhile = query("iam", "SELECT id FROM users").size() == 2;
        }
        return context.transaction().execute("INSERT INTO sent VALUES ($1)",
                                             {std::string_view(context.event().key)})
                   ? Verdict::done()
                   : Verdict::retry("no table");
    });
    services_["mail/p1"] = create_mail(std::move(handlers)).value();
    run_sql("iam", "INSERT INTO users VALUES (1, 'ada', NULL, 'secret')");
    settle();
    EXPECT_TRUE(is_written_meanwhile);
    EXPECT_THAT(query("mail", "SELECT user_id FROM sent"), ElementsAre("1", "2"));
}

TEST_F(ServiceWithCodeTest, HasDeadLettersAfterTheAttemptsOfTheFile) {
    start("iam");
    start_mail();
    is_down_ = true;
    run_sql("iam", "INSERT INTO users VALUES (1, 'ada', NULL, 'secret')");
    settle();
    clock_.advance(2s);
    settle();
    EXPECT_THAT(query("mail", "SELECT key FROM instep_parked_key WHERE dead_us IS NOT NULL"),
                ElementsAre("1"));
}

TEST_F(ServiceWithCodeTest, HasTheAttemptsOfTheFileForAClassOfErrors) {
    ServiceConfig config = mail();
    config.subscriptions[0].policies[ErrorCode::kTimeout].attempts_max = 1;
    start("iam");
    ASSERT_TRUE(apply_service(config, clock_, {}));
    Handlers handlers;
    handlers["welcome"].on("user.created", [](HandlerContext&) {
        return Verdict::retry(Error{ErrorCode::kTimeout, "no answer"});
    });
    services_["mail/p1"] =
        Service::create(config, {clock_, random_, logger_, *brokers_, "p1"}, handlers).value();
    insert_users(1, 1);
    settle();
    EXPECT_THAT(query("mail",
                      "SELECT error_code FROM instep_parked_key WHERE dead_us IS NOT NULL AND "
                      "attempts = 1"),
                ElementsAre("timeout"));
}

TEST_F(ServiceWithCodeTest, TellsWhyASubscriptionTakesNothing) {
    start("iam");
    start_mail();
    settle();
    const Service& service = *services_["mail/p1"];
    run_sql("mail",
            "INSERT INTO instep_subscription (subscription, paused_us, paused_by) VALUES "
            "('mail.welcome', 1, 'ada')");
    run_sql("iam", "INSERT INTO users VALUES (1, 'ada', NULL, 'secret')");
    clock_.advance(1s);
    settle();
    EXPECT_EQ(flow(service, "subscription welcome").state, "paused");
    EXPECT_EQ(flow(service, "subscription welcome").error, "");
    EXPECT_THAT(query("mail", "SELECT user_id FROM sent"), IsEmpty());
    const auto paused = read_status(mail(), clock_, *brokers_);
    ASSERT_TRUE(paused) << paused.error().message;
    ASSERT_THAT(paused->halts, SizeIs(1));
    EXPECT_EQ(paused->halts[0].halt.reason, "paused by ada");
    run_sql("mail", "UPDATE instep_subscription SET paused_us = NULL");
    clock_.advance(1s);
    settle();
    EXPECT_EQ(flow(service, "subscription welcome").state, "idle");
    EXPECT_THAT(query("mail", "SELECT user_id FROM sent"), ElementsAre("1"));
}

TEST_F(ServiceWithCodeTest, OpensTheCircuitAfterTheFailuresOfTheFile) {
    start("iam");
    start_mail();
    is_unavailable_ = true;
    run_sql("iam", "INSERT INTO users VALUES (1, 'ada', NULL, 'secret')");
    const Service& service = *services_["mail/p1"];
    for (int i = 0; i < 20; ++i) {
        for (const auto& [name, each] : services_) {
            (void)each->run_once();
        }
    }
    EXPECT_EQ(flow(service, "subscription welcome").state, "circuit_open");
    EXPECT_THAT(flow(service, "subscription welcome").error, HasSubstr("no mail server"));
    EXPECT_EQ(calls_, 2);
    EXPECT_THAT(read_status(mail(), clock_, *brokers_)->parked, IsEmpty());
    is_unavailable_ = false;
    clock_.advance(7s);
    settle();
    EXPECT_THAT(query("mail", "SELECT user_id FROM sent"), ElementsAre("1"));
}

TEST_F(ServiceWithCodeTest, ANewSubscriptionIsFilledWithWhatTheBrokerKeeps) {
    start("iam");
    insert_users(1, 3);
    settle();
    start_mail();
    settle();
    EXPECT_THAT(query("mail", "SELECT user_id FROM sent ORDER BY user_id"),
                ElementsAre("1", "2", "3"));
}

TEST_F(ServiceWithCodeTest, HandlesThePastAgainWhenItIsAskedTo) {
    start("iam");
    start_mail();
    insert_users(1, 3);
    settle();
    {
        ReplayRequest request;
        request.subscription = "mail.welcome";
        request.partitions = {0};
        request.key = "2";
        const auto connection = connect("mail");
        auto transaction = Transaction::begin(*connection, TransactionMode::kWrite).value();
        ASSERT_TRUE(ask_for_replay(transaction, request));
        ASSERT_TRUE(transaction.commit());
    }
    settle();
    EXPECT_THAT(query("mail", "SELECT user_id FROM sent"), ElementsAre("1", "2", "3", "2"));
    const auto status = read_status(mail(), clock_, *brokers_);
    ASSERT_TRUE(status) << status.error().message;
    ASSERT_THAT(status->replays, SizeIs(1));
    EXPECT_EQ(status->replays[0].state, "done");
    EXPECT_EQ(read_status(config("iam"), clock_, *brokers_)->topics.back().topic, "iam.user");
}

TEST_F(ServiceWithCodeTest, HoldsItsHandlersToTheContractOfTheFile) {
    given_contract();
    ServiceConfig with_contract = mail();
    with_contract.contract = dir_.file("mail.json");
    start("iam");
    ASSERT_TRUE(apply_service(with_contract, clock_, {}));
    Handlers handlers;
    handlers["welcome"].on("user.created", [](HandlerContext& context) {
        NewEvent sent;
        sent.topic = "mail.sent";
        sent.key = context.event().key;
        sent.type = "mail.sent";
        sent.data = sent.key == "1" ? R"({"to": "ada"})" : "{}";
        const auto published = context.publish(sent);
        return published ? Verdict::done() : Verdict::retry(published.error().message);
    });
    services_["mail/p1"] =
        Service::create(with_contract, {clock_, random_, logger_, *brokers_, "p1"}, handlers)
            .value();
    insert_users(1, 2);
    settle();
    clock_.advance(2s);
    settle();
    EXPECT_THAT(query("mail", "SELECT key FROM instep_log WHERE type = 'mail.sent'"),
                ElementsAre("1"));
    EXPECT_THAT(query("mail",
                      "SELECT key || ' ' || error_code FROM instep_parked_key WHERE dead_us IS NOT "
                      "NULL"),
                ElementsAre("2 rejected"));
}

TEST_F(ServiceWithCodeTest, DoesNotRunWithAContractThatIsNone) {
    std::ofstream(dir_.file("mail.json")) << "{";
    ServiceConfig with_contract = mail();
    with_contract.contract = dir_.file("mail.json");
    ASSERT_TRUE(apply_service(with_contract, clock_, {}));
    const auto refused =
        Service::create(with_contract, {clock_, random_, logger_, *brokers_, "p1"}, welcome());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(refused.error().message, HasSubstr("mail.json"));
    EXPECT_THAT(check_service(with_contract, clock_).value(),
                testing::Contains(testing::Field(&Finding::subject, "contract")));
}

TEST_F(ServiceWithCodeTest, RefusesToRunWithoutTheCodeOrWithoutTheTable) {
    const auto without = create_mail({});
    ASSERT_FALSE(without);
    EXPECT_EQ(without.error().code, ErrorCode::kConfigInvalid);
    EXPECT_THAT(without.error().message, HasSubstr("run the service's own program"));
    Handlers more = welcome();
    more["goodbye"];
    EXPECT_THAT(create_mail(more).error().message, HasSubstr("no [[subscription]] named"));
}

}  // namespace
}  // namespace instep
