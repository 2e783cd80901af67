#include "url.hpp"

#include <gmock/gmock.h>

namespace instep::kafka_broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

std::string error_of(std::string_view url) {
    const auto cluster = parse_url(url);
    EXPECT_FALSE(cluster) << url;
    EXPECT_EQ(cluster.error().code, ErrorCode::kConfigInvalid);
    return cluster ? "" : cluster.error().message;
}

TEST(KafkaUrlTest, ReadsServersAndOptions) {
    const auto cluster = parse_url(
        "kafka://a.example:9092,[::1]:9093/?security.protocol=sasl_ssl&sasl.password=p%26q%25"
        "&replication=3&cleanup=compact&static_members=on");

    ASSERT_TRUE(cluster) << cluster.error().message;
    EXPECT_EQ(cluster->servers, "a.example:9092,[::1]:9093");
    EXPECT_EQ(cluster->display_url, "kafka://a.example:9092,[::1]:9093");
    EXPECT_THAT(cluster->properties,
                ElementsAre(Pair("security.protocol", "sasl_ssl"), Pair("sasl.password", "p&q%")));
    EXPECT_EQ(cluster->replication, 3);
    EXPECT_EQ(cluster->cleanup, Cleanup::kCompact);
    EXPECT_EQ(cluster->membership, Membership::kStatic);
}

TEST(KafkaUrlTest, SaysWhatIsWrongWithoutSecrets) {
    EXPECT_THAT(error_of("kafka://host"), HasSubstr("HOST:PORT"));
    EXPECT_THAT(error_of("kafka://host:0"), HasSubstr("HOST:PORT"));
    EXPECT_THAT(error_of("kafka://host:9092,:1"), HasSubstr("HOST:PORT"));
    EXPECT_THAT(error_of("kafka://"), HasSubstr("HOST:PORT"));
    EXPECT_THAT(error_of("kafka://u:hidden@host:9092"),
                AllOf(HasSubstr("sasl.username"), Not(HasSubstr("hidden"))));
    EXPECT_THAT(error_of("kafka://host:9092?sasl.password=hidden%2"),
                AllOf(HasSubstr("sasl.password"), Not(HasSubstr("hidden"))));
    EXPECT_THAT(error_of("kafka://host:9092?replication=0"), HasSubstr("replication"));
    EXPECT_THAT(error_of("kafka://host:9092?cleanup=never"), HasSubstr("cleanup"));
    EXPECT_THAT(error_of("kafka://host:9092?static_members=1"), HasSubstr("static_members"));
    EXPECT_THAT(error_of("kafka://host:9092?security.protocol"), HasSubstr("no value"));
}

TEST(KafkaUrlTest, RefusesALoginThatWouldNotTakePlace) {
    const std::string login = "kafka://host:9092?sasl.username=instep&sasl.password=hidden";
    const std::string mechanism = "&sasl.mechanism=SCRAM-SHA-512";
    const auto needs = [](const std::string& option) {
        return AllOf(HasSubstr(option), Not(HasSubstr("hidden")));
    };
    EXPECT_THAT(error_of(login + mechanism), needs("security.protocol=sasl_ssl"));
    EXPECT_THAT(error_of(login + mechanism + "&security.protocol=ssl"),
                needs("security.protocol=sasl_ssl"));
    EXPECT_THAT(error_of(login + "&security.protocol=sasl_ssl"), needs("sasl.mechanism="));
    EXPECT_TRUE(parse_url(login + mechanism + "&security.protocol=SASL_PLAINTEXT"));
    EXPECT_TRUE(parse_url(login + "&sasl.mechanisms=PLAIN&security.protocol=sasl_ssl"));
}

TEST(KafkaUrlTest, TakesNoOptionThatTheGuaranteesRestOn) {
    for (const char* option : {"acks=1", "enable.idempotence=false", "group.id=x",
                               "enable.auto.commit=true", "bootstrap.servers=x"}) {
        EXPECT_THAT(error_of(std::string("kafka://host:9092?") + option),
                    HasSubstr("there is no option"));
    }
}

}  // namespace
}  // namespace instep::kafka_broker
