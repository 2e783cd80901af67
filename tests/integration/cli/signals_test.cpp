#include "instep/db/sqlite/database.hpp"
#include "tests/integration/cli/cli_fixture.hpp"

#include <array>
#include <csignal>
#include <cstring>
#include <memory>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace instep::test {
namespace {

using std::chrono::seconds;

class SignalsTest : public CliTest {};

TEST_F(SignalsTest, RunStopsCleanlyOnEachSignal) {
    given_applied_services();
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        Process daemon(INSTEP_PROGRAM, options({"run", "iam.toml", "data_owner.toml"}));
        ASSERT_TRUE(daemon.prints("ready"));
        daemon.signal(signal);
        const Finished finished = daemon.wait();
        EXPECT_FALSE(finished.overdue);
        EXPECT_EQ(finished.exit, 0) << finished.err;
    }
}

TEST_F(SignalsTest, RunStaysWhenItsTerminalGoesUnderNohup) {
    given_applied_services();
    Process daemon("/bin/sh", options({"-c", "exec nohup " INSTEP_PROGRAM " run iam.toml"}));
    ASSERT_TRUE(daemon.prints("ready"));
    daemon.signal(SIGHUP);
    sql("iam.db", "DELETE FROM users WHERE id = 2");
    EXPECT_EQ(run({"wait", "iam.toml", "--caught-up", "--timeout", "2m"}).exit, 0);
    EXPECT_FALSE(daemon.has_ended());
}

TEST_F(SignalsTest, AfterACleanStopNobodyHoldsTheRelay) {
    given_applied_services();
    Process daemon(INSTEP_PROGRAM, options({"run", "iam.toml"}));
    ASSERT_TRUE(daemon.prints("ready"));
    EXPECT_TRUE(eventually([&] {
        return value("iam.db", "SELECT count(*) FROM instep_lease WHERE owner <> ''") == "1";
    }));
    daemon.signal(SIGTERM);
    ASSERT_EQ(daemon.wait().exit, 0);
    const Finished status = run({"status", "iam.toml"});
    EXPECT_NE(status.out.find("caught up"), std::string::npos) << status.out;
    EXPECT_EQ(status.out.find('/'), std::string::npos) << status.out;
}

TEST_F(SignalsTest, RunEndsInTimeThoughItCannotGiveUpWhatItHolds) {
    given_filled_replica();
    Process daemon(INSTEP_PROGRAM, options({"run", "iam.toml", "data_owner.toml"}));
    ASSERT_TRUE(daemon.prints("ready"));
    ASSERT_EQ(run({"wait", "iam.toml", "data_owner.toml", "--caught-up"}).exit, 0);
    std::vector<std::unique_ptr<Database>> databases;
    std::vector<std::unique_ptr<Connection>> connections;
    std::vector<Transaction> locks;
    for (const char* file : {"iam.db", "data_owner.db"}) {
        databases.push_back(*open_sqlite(folder_.file(file), clock_));
        connections.push_back(*databases.back()->connect());
        locks.push_back(*Transaction::begin(*connections.back(), TransactionMode::kWrite));
    }
    daemon.signal(SIGTERM);
    // It says that it was not done, instead of waiting for each of its leases.
    const Finished finished = daemon.wait(seconds(30));
    EXPECT_FALSE(finished.overdue);
    EXPECT_EQ(finished.exit, 1) << finished.err;
}

TEST_F(SignalsTest, ASecondSignalEndsRunAtOnce) {
    given_applied_services();
    Process daemon(INSTEP_PROGRAM, options({"run", "iam.toml", "data_owner.toml"}));
    ASSERT_TRUE(daemon.prints("ready"));
    // Both are pending when it goes on, so no shutdown can be quick enough to come between.
    ASSERT_TRUE(daemon.stop());
    daemon.signal(SIGTERM);
    daemon.signal(SIGINT);
    daemon.signal(SIGCONT);
    EXPECT_EQ(daemon.wait().exit, 130);
}

TEST_F(SignalsTest, AnInterruptedTailIs130) {
    given_applied_services();
    sql("iam.db", "DELETE FROM users WHERE id = 3");
    Process tail(INSTEP_PROGRAM, options({"tail", "iam.toml", "--from-start"}));
    ASSERT_TRUE(tail.prints("user.deleted"));
    tail.signal(SIGINT);
    EXPECT_EQ(tail.wait().exit, 130);
}

TEST_F(SignalsTest, AnInterruptedVerifyIs130) {
    given_filled_replica();
    Process verify(INSTEP_PROGRAM, options({"verify", "data_owner.toml"}));
    ASSERT_TRUE(eventually([&] {
        return value("data_owner.db",
                     "SELECT count(*) FROM instep_verification "
                     "WHERE finished_us IS NULL") == "1";
    }));
    verify.signal(SIGINT);
    const Finished finished = verify.wait();
    EXPECT_EQ(finished.exit, 130);
    EXPECT_NE(finished.err.find("interrupted"), std::string::npos) << finished.err;
}

TEST_F(SignalsTest, RunTellsTheServiceManagerThatItIsReady) {
    given_applied_services();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder_.file("notify");
    std::memcpy(static_cast<void*>(address.sun_path), path.data(), path.size());
    const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ASSERT_GE(socket, 0);
    ASSERT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ProcessOptions notified = options({"run", "iam.toml"});
    notified.environment = {{"NOTIFY_SOCKET", path}};
    Process daemon(INSTEP_PROGRAM, notified);
    ASSERT_TRUE(daemon.prints("ready"));
    std::array<char, 64> message{};
    const ssize_t length = ::recv(socket, message.data(), message.size(), 0);
    EXPECT_EQ(std::string(message.data(), static_cast<std::size_t>(length)), "READY=1");
    ::close(socket);
}

}  // namespace
}  // namespace instep::test
