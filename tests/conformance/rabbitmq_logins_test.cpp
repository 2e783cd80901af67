// Who gets in, and what is said to those who do not: TLS, passwords, vhosts, rights.
#include "instep/broker/rabbitmq/broker.hpp"
#include "tests/conformance/key_lists.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/rabbitmq_server.hpp"

#include <gmock/gmock.h>

#include <string>

namespace instep::test {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class RabbitmqLogins : public ::testing::Test {
protected:
    /// One for all of them: it takes seconds to start.
    static RabbitmqServer& server() {
        static RabbitmqServer server({.settings = {}, .tls = true});
        return server;
    }

    std::unique_ptr<Broker> open(const std::string& url) {
        return open_rabbitmq_broker(url, clock_, random_).value();
    }

    std::string tls_url(const std::string& host, const std::string& ca) {
        return "amqps://guest:guest@" + host + ":" + std::to_string(server().tls_port()) + "/" +
               (ca.empty() ? "" : "?ca=" + ca);
    }

    std::string url_of(const std::string& login, const std::string& vhost) {
        return "amqp://" + login + "@127.0.0.1:" + std::to_string(server().port()) + "/" + vhost;
    }

    /// How each part of a broker is refused, whatever comes first.
    void expect_refused(const std::string& url, ErrorCode code, const std::string& words) {
        const auto broker = open(url);
        const auto publisher = broker->publisher().value();
        const std::vector<Event> events = KeyLists().next(1);
        const std::vector<Error> errors = {
            broker->lag("").error(), publisher->declare_topic("logins", 1).error(),
            publisher->publish({.topic = "logins", .partition = 0, .events = events})
                .failure.value_or(Error{}),
            broker->subscribe({.subscription = "logins.reader", .topic = "logins", .member = "one"})
                .error(),
            broker->examine().error()};
        for (const Error& error : errors) {
            EXPECT_EQ(error.code, code) << error.message;
            EXPECT_THAT(error.message, AllOf(HasSubstr(words), Not(HasSubstr("s3cret"))));
        }
    }

    SystemClock clock_;
    SystemRandom random_;
};

TEST_F(RabbitmqLogins, LargeEventsPassOverTls) {
    const auto broker = open(server().tls_url() + "?ca=" + server().ca_file());
    const auto publisher = broker->publisher().value();
    const auto declared = publisher->declare_topic("tls", 1);
    ASSERT_TRUE(declared) << declared.error().message;
    const auto subscriber =
        broker->subscribe({.subscription = "tls.reader", .topic = "tls", .member = "one"}).value();
    std::vector<Event> events = KeyLists().next(300);
    for (Event& event : events) {
        event.data.resize(20'000, ' ');
    }
    const auto outcome = publisher->publish({.topic = "tls", .partition = 0, .events = events});
    ASSERT_FALSE(outcome.failure) << outcome.failure->message;

    std::size_t received = 0;
    EXPECT_TRUE(eventually([&] {
        EXPECT_TRUE(subscriber->assignments());
        const auto deliveries = subscriber->receive(100, 4 << 20).value();
        for (const Delivery& delivery : deliveries) {
            EXPECT_EQ(delivery.event.id, events[received].id);
            EXPECT_EQ(delivery.event.data.size(), 20'000U);
            ++received;
        }
        if (!deliveries.empty()) {
            EXPECT_TRUE(subscriber->acknowledge(0, deliveries.back().position));
        } else {
            subscriber->wait({}, 20ms);
        }
        return received == events.size();
    })) << received;
}

TEST_F(RabbitmqLogins, ACertificateThatTheUrlDoesNotTrustIsRefused) {
    const std::string refusal = "certificate is refused";
    expect_refused(tls_url("127.0.0.1", server().folder() + "/other-ca.pem"),
                   ErrorCode::kUnavailable, refusal);
    expect_refused(tls_url("127.0.0.1", ""), ErrorCode::kUnavailable, refusal);
}

TEST_F(RabbitmqLogins, ACertificateOfAnotherHostIsRefused) {
    expect_refused(tls_url("127.0.0.2", server().ca_file()), ErrorCode::kUnavailable,
                   "certificate is refused");
}

TEST_F(RabbitmqLogins, AFileThatIsNoCertificateIsNamed) {
    expect_refused(tls_url("127.0.0.1", "/nowhere/ca.pem"), ErrorCode::kConfigInvalid,
                   "/nowhere/ca.pem");
}

TEST_F(RabbitmqLogins, AServerWithoutTlsIsNotTakenForAWrongCertificate) {
    const std::string url = "amqps://127.0.0.1:" + std::to_string(server().port()) + "/";
    expect_refused(url, ErrorCode::kUnavailable, "cannot connect");
}

TEST_F(RabbitmqLogins, AWrongPasswordIsToldWithoutIt) {
    expect_refused(url_of("guest:s3cret", ""), ErrorCode::kPermissionDenied,
                   "check user and password");
}

TEST_F(RabbitmqLogins, AVhostThatIsNotThereIsNamed) {
    expect_refused(url_of("guest:guest", "nowhere"), ErrorCode::kNotFound, "nowhere");
}

TEST_F(RabbitmqLogins, AVhostWithoutRightsIsNamedWithWhatToGrant) {
    server().control(
        "eval 'rabbit_auth_backend_internal:add_user(<<\"stranger\">>, <<\"s3cret\">>, "
        "<<\"test\">>).'");
    expect_refused(url_of("stranger:s3cret", ""), ErrorCode::kPermissionDenied,
                   "rabbitmqctl set_permissions");
}

}  // namespace
}  // namespace instep::test
