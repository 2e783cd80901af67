#include "instep/telemetry/redact.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

TEST(RedactUrl, HidesThePassword) {
    EXPECT_EQ(redact_url("postgresql://app:s3cret@db:5432/iam"),
              "postgresql://app:***@db:5432/iam");
    EXPECT_EQ(redact_url("redis://:s3cret@127.0.0.1:6379/0"), "redis://:***@127.0.0.1:6379/0");
}

TEST(RedactUrl, LeavesUrlsWithoutSecretsAlone) {
    for (const char* url :
         {"", "sqlite:iam.db", "embedded:/var/lib/instep", "redis://127.0.0.1:6379",
          "postgresql://app@db/iam", "postgresql:///app?host=/run&port=5433", "x=", "?", "&&=="}) {
        EXPECT_EQ(redact_url(url), url);
    }
}

TEST(RedactUrl, HidesPasswordsThatNobodyEscaped) {
    for (const char* url : {"amqp://app:s3/cret@mq/", "amqp://app:s3?cret@mq/",
                            "amqp://app:s3@cret@mq/", "amqp://app:s3:cret@mq/", "app:s3cret@mq"}) {
        const std::string shown = redact_url(url);
        EXPECT_EQ(shown.find("s3"), std::string::npos) << shown;
        EXPECT_EQ(shown.find("cret"), std::string::npos) << shown;
    }
}

TEST(RedactUrl, HidesEveryPasswordOfSeveralHosts) {
    EXPECT_EQ(redact_url("kafka://a:one@h1:9092,b:two@h2:9092"), "kafka://a:***@h2:9092");
}

TEST(RedactUrl, HidesParametersNamedLikeASecret) {
    EXPECT_EQ(redact_url("postgresql:///iam?user=app&password=s3cret&sslmode=require"),
              "postgresql:///iam?user=app&password=***&sslmode=require");
    EXPECT_EQ(redact_url("https://hooks/x?Access_Token=s3cret"),
              "https://hooks/x?Access_Token=***");
    EXPECT_EQ(redact_url("host=db password=s3cret dbname=iam"), "host=db password=*** dbname=iam");
    EXPECT_EQ(redact_url("password='s3 cret' host=db"), "password=***");
}

}  // namespace
}  // namespace instep
