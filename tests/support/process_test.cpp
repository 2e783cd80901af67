#include "tests/support/process.hpp"

#include "tests/support/temp_dir.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <system_error>

namespace instep::test {
namespace {

Finished shell(const std::string& script, ProcessOptions options = {}) {
    options.arguments = {"-c", script};
    return run_process("/bin/sh", options);
}

TEST(ProcessTest, KeepsWhatTheChildPrintsAndItsExitCode) {
    const Finished finished = shell("echo data; echo message >&2; exit 7");
    EXPECT_EQ(finished.exit, 7);
    EXPECT_EQ(finished.out, "data\n");
    EXPECT_EQ(finished.err, "message\n");
}

TEST(ProcessTest, TheChildNeverWaitsForAReader) {
    EXPECT_EQ(shell("head -c 1000000 /dev/zero").out.size(), 1'000'000U);
}

TEST(ProcessTest, GivesTheChildItsEnvironmentAndFolder) {
    const TempDir folder;
    const Finished finished = shell(
        "echo $NAME; pwd",
        {.arguments = {}, .environment = {{"NAME", "value"}}, .directory = folder.path().string()});
    EXPECT_EQ(finished.out, "value\n" + folder.path().string() + "\n");
}

TEST(ProcessTest, SaysWhichSignalEndedTheChild) {
    EXPECT_EQ(shell("kill -KILL $$").exit, 128 + SIGKILL);
}

TEST(ProcessTest, SignalsReachTheChildOnceItIsReady) {
    Process process("/bin/sh", {.arguments = {"-c",
                                              "trap 'exit 3' TERM; echo ready; "
                                              "while :; do sleep 0.01; done"},
                                .environment = {},
                                .directory = ""});
    ASSERT_TRUE(process.prints("ready"));
    process.signal(SIGTERM);
    EXPECT_EQ(process.wait().exit, 3);
}

TEST(ProcessTest, KillsAChildThatIsOverdue) {
    Process process(
        "/bin/sh",
        {.arguments = {"-c", "while :; do sleep 1; done"}, .environment = {}, .directory = ""});
    EXPECT_TRUE(process.wait(std::chrono::milliseconds(20)).overdue);
}

TEST(ProcessTest, SaysThatAProgramDoesNotExist) {
    EXPECT_THROW(Process("/no/such/program"), std::system_error);
}

}  // namespace
}  // namespace instep::test
