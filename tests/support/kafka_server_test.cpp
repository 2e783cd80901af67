#include "tests/support/kafka_server.hpp"

#include <gtest/gtest.h>

#include <filesystem>

namespace instep::test {
namespace {

TEST(KafkaServerTest, StartsOnItsPortAgainAfterACrashAndAfterAStop) {
    KafkaServer server;
    const int port = server.port();
    const std::string folder = server.folder();

    server.kill();
    server.start();
    server.stop();
    server.start();

    EXPECT_EQ(server.port(), port);
    EXPECT_EQ(server.folder(), folder);
}

TEST(KafkaServerTest, LeavesNothingBehind) {
    std::string folder;
    {
        const KafkaServer server;
        folder = server.folder();
        EXPECT_TRUE(std::filesystem::exists(folder));
    }
    EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST(KafkaServerTest, SaysWhyItDoesNotStart) {
    KafkaServer::Options options;
    options.settings = {"log.retention.ms=never"};
    try {
        const KafkaServer server(options);
        FAIL() << "it started";
    } catch (const std::runtime_error& error) {
        EXPECT_NE(std::string(error.what()).find("log.retention.ms"), std::string::npos)
            << error.what();
    }
}

}  // namespace
}  // namespace instep::test
