// Two services as child processes that a test kills: "iam" owns the table items, "data-owner"
// keeps three replicas of it. Databases are files of the test's own folder or on a server of its
// own; the broker is a file.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/capture/capture.hpp"
#include "instep/db/database.hpp"
#include "instep/replica/replica.hpp"
#include "tests/integration/crash/list_workload.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/process.hpp"
#include "tests/support/sync_system.hpp"
#include "tests/support/temp_dir.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace instep::test {

/// Which of the two processes.
enum class Side : std::uint8_t { kOwner, kReplicas };

/// How events get from one to the other.
enum class Way : std::uint8_t { kBroker, kDirect };

/// What is asked for while the processes crash. A refill is what a lost change must not hide
/// behind: it would bring the row all the same.
enum class Requests : std::uint8_t {
    kVerifications,
    kRefills,  ///< Also backfills, and the publication of one more column, which causes some.
};

class CrashFixture : public testing::Test {
protected:
    /// Both services keep their data there.
    explicit CrashFixture(Home home = Home::kSqlite, CaptureBy capture = CaptureBy::kTriggers,
                          Way way = Way::kBroker);

    /// Files and databases, with rows in items; nothing is applied.
    void given_services(std::uint64_t seed = 1);

    /// The same, applied, with all replicas live, and no process running.
    void given_live_replicas(std::uint64_t seed = 1);

    /// The replica lookup_items refuses every write of ListWriter::kSteadyKey.
    void given_poison();
    void without_poison();

    /// One more process of a side, with INSTEP_FAIL set to `fail`.
    [[nodiscard]] std::unique_ptr<Process> launch(Side side, const std::string& fail = "") const;

    void start(Side side, const std::string& fail = "") { process(side) = launch(side, fail); }
    std::unique_ptr<Process>& process(Side side) {
        return processes_.at(static_cast<std::size_t>(side));
    }

    /// Kills it as kill -9 does; it must have been alive.
    void kill(Side side);

    /// Waits for a process that crashed or was killed, and ends its leases as time would.
    void bury(Side side);

    /// Writes, watches the replicas and now and then asks for something, until `done` or the
    /// deadline. Returns done().
    bool work_until(const std::function<bool()>& done,
                    std::chrono::milliseconds deadline = kPatience);

    /// Rows may be as they were a moment before, once: the server of the replicas has failed.
    void forget_what_was_seen();

    /// Everything written has arrived once and is equal, nothing is parked, no flow lags; both
    /// processes end cleanly.
    void expect_in_step();

    /// Runs the program in the folder to its end.
    [[nodiscard]] Finished run(const std::vector<std::string>& arguments) const;
    [[nodiscard]] ProcessOptions options(const std::vector<std::string>& arguments) const;

    /// The database of a service ("iam", "data_owner") or the broker's ("broker").
    [[nodiscard]] std::unique_ptr<Connection> open(const std::string& name) const;

    /// The same for a service file.
    [[nodiscard]] std::string url(const std::string& name) const;

    /// Writes both service files, with other brokers than before.
    void write_files(const std::string& owner_broker, const std::string& replica_broker);

    const Home home_;
    const CaptureBy capture_;
    Requests requests_ = Requests::kVerifications;
    TempDir folder_;
    SystemClock clock_;

    /// Null on SQLite.
    std::unique_ptr<PostgresServer> server_;
    std::unique_ptr<Connection> owner_;
    std::unique_ptr<Connection> replicas_;
    std::unique_ptr<ListWriter> writer_;

private:
    void write_owner_file();
    void expect_caught_up();
    void ask_for_something();
    void publish_one_more_column();
    void look();
    std::string owner_broker_;
    std::string replica_broker_;
    std::vector<std::unique_ptr<PostgresDatabase>> databases_;
    std::vector<std::unique_ptr<ListWatch>> watches_;
    std::array<std::unique_ptr<Process>, 2> processes_;
    SystemRandom random_;
    int columns_published_ = 0;
    std::uint64_t steps_ = 0;
};

}  // namespace instep::test
