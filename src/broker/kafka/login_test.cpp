// Whom a server lets in by a password, with each mechanism, over TLS.
#include "instep/broker/kafka/broker.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/kafka_server.hpp"

#include <gmock/gmock.h>
#include <librdkafka/rdkafka.h>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::KafkaServer;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// The parameter is the mechanism.
class KafkaLoginTest : public ::testing::TestWithParam<std::string> {
protected:
    /// One for all of them: it takes seconds to start.
    static KafkaServer& server() {
        static KafkaServer server(
            {.settings = {"listener.security.protocol.map=PLAINTEXT:SASL_SSL,CONTROLLER:PLAINTEXT",
                          "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
                          "sasl.mechanism.inter.broker.protocol=PLAIN",
                          "listener.name.plaintext.plain.sasl.jaas.config="
                          "org.apache.kafka.common.security.plain.PlainLoginModule required "
                          "username=\"admin\" password=\"right\" user_admin=\"right\" "
                          "user_instep=\"right\";",
                          jaas_of("scram-sha-256"), jaas_of("scram-sha-512")},
             .tls = true,
             .scram_users = {"SCRAM-SHA-256=[name=instep,password=right]",
                             "SCRAM-SHA-512=[name=instep,password=right]"}});
        return server;
    }

    static std::string jaas_of(const std::string& mechanism) {
        return "listener.name.plaintext." + mechanism +
               ".sasl.jaas.config="
               "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    }

    static std::unique_ptr<Broker> open_as(const std::string& user, const std::string& password) {
        return open_kafka_broker(
                   server().url("security.protocol=sasl_ssl&ssl.ca.location=" + server().ca_file() +
                                "&sasl.mechanism=" + GetParam() + "&sasl.username=" + user +
                                "&sasl.password=" + password))
            .value();
    }

    /// Whether the client library says what the server, Kafka 4.0, takes for SCRAM.
    static bool is_understood() {
        constexpr int kScramMended = 0x02060100;
        return GetParam() == "PLAIN" || rd_kafka_version() >= kScramMended;
    }

    PublishOutcome publish(Broker& broker) {
        std::vector<Event> events(1);
        events[0].id = "e1";
        events[0].source = "shop";
        events[0].type = "order.placed";
        events[0].key = "k";
        return broker.publisher().value()->publish(
            {.topic = topic_, .partition = 0, .events = events});
    }

    /// Whatever is asked for first.
    void expect_refused(const std::string& user, const std::string& password) {
        const auto broker = open_as(user, password);
        const auto error_of = [](const auto& result) { return result ? Error{} : result.error(); };
        const std::vector<Error> errors = {
            error_of(broker->publisher().value()->declare_topic(topic_, 1)),
            publish(*broker).failure.value_or(Error{}),
            error_of(broker->subscribe({.subscription = "s", .topic = topic_, .member = "one"})),
            error_of(broker->examine())};
        for (const Error& error : errors) {
            EXPECT_EQ(error.code, ErrorCode::kPermissionDenied) << error.message;
            EXPECT_THAT(error.message,
                        AllOf(HasSubstr("Authentication failed"), Not(HasSubstr(password))));
        }
    }

    const std::string topic_ = "t" + GetParam();
};

/// Or the client says why they cannot.
TEST_P(KafkaLoginTest, EventsPassWithTheRightPassword) {
    const auto broker = open_as("instep", "right");
    const auto declared = broker->publisher().value()->declare_topic(topic_, 1);
    if (!is_understood()) {
        ASSERT_FALSE(declared);
        EXPECT_EQ(declared.error().code, ErrorCode::kPermissionDenied);
        EXPECT_THAT(declared.error().message, HasSubstr("librdkafka before 2.6.1"));
        return;
    }
    ASSERT_TRUE(declared) << declared.error().message;
    const auto outcome = publish(*broker);
    ASSERT_FALSE(outcome.failure) << outcome.failure->message;

    const auto subscriber = broker
                                ->subscribe({.subscription = topic_ + ".reader",
                                             .topic = topic_,
                                             .member = "one",
                                             .start_at = StartAt::kEarliest})
                                .value();
    EXPECT_TRUE(test::eventually([&] {
        EXPECT_TRUE(subscriber->assignments());
        return subscriber->receive(1, 1 << 20).value().size() == 1;
    }));
}

TEST_P(KafkaLoginTest, ARefusedLoginIsToldWithoutThePassword) {
    expect_refused("instep", "wrong-one");
}

INSTANTIATE_TEST_SUITE_P(With, KafkaLoginTest,
                         ::testing::Values("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
                         [](const auto& mechanism) {
                             std::string name = mechanism.param;
                             std::erase(name, '-');
                             return name;
                         });

}  // namespace
}  // namespace instep
