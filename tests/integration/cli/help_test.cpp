#include "tests/integration/cli/cli_fixture.hpp"

#include <nlohmann/json.hpp>

namespace instep::test {
namespace {

constexpr std::string_view kCommands[] = {
    "init",           "check",   "plan",     "apply",  "run",    "status",
    "tail",           "explain", "backfill", "verify", "repair", "wait",
    "migrate-broker", "pause",   "resume",   "replay", "version"};

class HelpTest : public CliTest {};

TEST_F(HelpTest, EveryCommandBeginsWithExamplesAndTakesJson) {
    for (const std::string_view command : kCommands) {
        const Finished help = run({std::string(command), "--help"});
        EXPECT_EQ(help.exit, 0) << command;
        EXPECT_NE(help.out.find("\n\nExamples:\n  instep " + std::string(command)),
                  std::string::npos)
            << help.out;
        EXPECT_LT(help.out.find("Examples:"), help.out.find("Usage:")) << command;
        EXPECT_NE(help.out.find("--json"), std::string::npos) << command;
        EXPECT_EQ(help.err, "") << command;
    }
}

TEST_F(HelpTest, TheProgramListsItsCommandsAndExitCodes) {
    const Finished help = run({"--help"});
    EXPECT_EQ(help.exit, 0);
    for (const std::string_view command : kCommands) {
        EXPECT_NE(help.out.find("\n  " + std::string(command) + " "), std::string::npos) << command;
    }
    EXPECT_NE(help.out.find("130  interrupted"), std::string::npos);
}

TEST_F(HelpTest, AnUnknownCommandGetsTheNearestOne) {
    const Finished finished = run({"verfiy"});
    EXPECT_EQ(finished.exit, 2);
    EXPECT_EQ(finished.out, "");
    EXPECT_EQ(finished.err, "instep: instep has no command \"verfiy\"; did you mean \"verify\"?\n");
}

TEST_F(HelpTest, AnUnknownOptionGetsTheNearestOne) {
    const Finished finished = run({"wait", "iam.toml", "--caughtup"});
    EXPECT_EQ(finished.exit, 2);
    EXPECT_NE(finished.err.find("did you mean \"--caught-up\"?"), std::string::npos)
        << finished.err;
}

TEST_F(HelpTest, WrongUsageIsTwo) {
    EXPECT_EQ(run({}).exit, 2);
    EXPECT_EQ(run({"status"}).exit, 2);
    EXPECT_EQ(run({"version", "extra"}).exit, 2);
    EXPECT_EQ(run({"wait", "iam.toml", "--timeout", "5"}).exit, 2);
    EXPECT_EQ(run({"tail", "iam.toml", "--count", "many"}).exit, 2);
    EXPECT_EQ(run({"tail", "iam.toml", "--count", "-1"}).exit, 2);
    EXPECT_EQ(run({"tail", "iam.toml", "--count", "99999999999999999999"}).exit, 2);
    EXPECT_EQ(run({"run", "iam.toml", "--log-level", "loud"}).exit, 2);
    EXPECT_EQ(run({"wait", "iam.toml"}).exit, 2);
    EXPECT_EQ(run({"backfill", "iam.toml"}).exit, 2);
}

TEST_F(HelpTest, WrongUsageIsJsonToo) {
    const auto error = run_json({"statsu"}, "instep.error/1");
    EXPECT_EQ(error["code"], "invalid_argument");
    EXPECT_EQ(error["exit"], 2);
}

TEST_F(HelpTest, ColoursAreLeftOutOfPipesUnlessAskedFor) {
    given_applied_services();
    EXPECT_EQ(run({"plan", "iam.toml"}).out.find('\x1B'), std::string::npos);
    EXPECT_NE(run({"status", "iam.toml", "--color", "always"}).out.find('\x1B'), std::string::npos);
    EXPECT_EQ(run({"status", "iam.toml", "--color", "never"}).out.find('\x1B'), std::string::npos);
}

TEST_F(HelpTest, VersionTellsWhatItWasBuiltWith) {
    const auto version = run_json({"version"}, "instep.version/1");
    EXPECT_FALSE(version["version"].get<std::string>().empty());
    EXPECT_FALSE(version["sqlite"].get<std::string>().empty());
    EXPECT_EQ(run({"--version"}).out, run({"version"}).out);
}

}  // namespace
}  // namespace instep::test
