#include "endpoint.hpp"

#include <gmock/gmock.h>

namespace instep::redis {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Endpoint, ReadsEveryPart) {
    const Endpoint all =
        parse_endpoint(
            "rediss://ann:p%40ss@redis.example:6380/3?protocol=2&prefix=shop&replicas=1&"
            "timeout=250&notify=pubsub&ca=/etc/ca.pem&cert=/c.pem&key=/k.pem")
            .value();
    EXPECT_TRUE(all.tls);
    EXPECT_EQ(all.user, "ann");
    EXPECT_EQ(all.password, "p@ss");
    EXPECT_EQ(all.host, "redis.example");
    EXPECT_EQ(all.port, "6380");
    EXPECT_EQ(all.database, 3U);
    EXPECT_EQ(all.protocol, 2U);
    EXPECT_EQ(all.prefix, "shop");
    EXPECT_EQ(all.replicas, 1U);
    EXPECT_TRUE(all.notifies);
    EXPECT_EQ(all.timeout, std::chrono::milliseconds(250));
    EXPECT_EQ(all.ca, "/etc/ca.pem");
    EXPECT_THAT(all.display_url, Not(HasSubstr("p%40ss")));

    const Endpoint least = parse_endpoint("redis://[::1]").value();
    EXPECT_EQ(least.host, "::1");
    EXPECT_EQ(least.port, "6379");
    EXPECT_EQ(least.protocol, 3U);
    EXPECT_FALSE(least.tls);
    EXPECT_FALSE(least.notifies);
    EXPECT_EQ(parse_endpoint("redis://:secret@h/").value().password, "secret");
}

TEST(Endpoint, RefusesWhatItIsNotWithoutTellingThePassword) {
    for (const std::string_view url : {"redis://",
                                       "redis://h:0",
                                       "redis://h:70000",
                                       "redis://h:x",
                                       "redis://h/x",
                                       "redis://user@h",
                                       "redis://u:@h",
                                       "redis://u:%zz@h",
                                       "redis://h?protocol=4",
                                       "redis://h?protocol",
                                       "redis://h?protocol=2&protocol=3",
                                       "redis://h?ca=/x",
                                       "rediss://h?cert=/x",
                                       "redis://h?pool=5",
                                       "redis://h?prefix=",
                                       "redis://h?prefix=a{b",
                                       "redis://h?timeout=5",
                                       "redis://[::1",
                                       "amqp://h",
                                       "redis://u:hunter2@h?x=1"}) {
        const auto endpoint = parse_endpoint(url);
        ASSERT_FALSE(endpoint) << url;
        EXPECT_EQ(endpoint.error().code, ErrorCode::kConfigInvalid) << url;
        EXPECT_THAT(endpoint.error().message, Not(HasSubstr("hunter2")));
    }
}

}  // namespace instep::redis
