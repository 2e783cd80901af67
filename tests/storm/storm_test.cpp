#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace instep::storm {

namespace {

test::Finished run(std::vector<std::string> arguments) {
    test::Process storm(INSTEP_STORM, {.arguments = std::move(arguments)});
    return storm.wait(4 * test::kPatience);
}

}  // namespace

class Storm : public ::testing::TestWithParam<std::string> {};

TEST_P(Storm, LosesNothingRepeatsNothingAndKeepsOrder) {
    const test::Finished storm = run({"--broker", GetParam(), "--seconds", "60"});
    EXPECT_EQ(storm.exit, 0) << storm.out << storm.err;
    EXPECT_NE(storm.out.find("relay killed"), std::string::npos) << storm.out;
    EXPECT_NE(storm.out.find("consumer killed"), std::string::npos) << storm.out;
    std::cout << storm.out;
}

INSTANTIATE_TEST_SUITE_P(On, Storm, ::testing::Values("embedded", "redis", "rabbitmq", "kafka"),
                         [](const auto& broker) { return broker.param; });

TEST(StormItself, FindsRepeatsOfConsumersThatForget) {
    const test::TempDir folder;
    const std::string account = folder.file("account");
    const test::Finished storm =
        run({"--broker", "embedded", "--seconds", "10", "--forgetful", "--account", account});
    EXPECT_EQ(storm.exit, 1) << storm.out << storm.err;
    EXPECT_EQ(storm.out.find(" 0 repeated"), std::string::npos) << storm.out;
    std::ostringstream said;
    said << std::ifstream(account).rdbuf();
    EXPECT_NE(said.str().find("events: consumer killed"), std::string::npos) << said.str();
}

}  // namespace instep::storm
