// Transactions that are long or large. INSTEP_OPEN_SECONDS and INSTEP_LARGE_ROWS make them more
// so.
#include "tests/support/postgres_session.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

namespace instep {
namespace {

using test::Home;
using test::PostgresSession;
using test::ReplicaSide;
using test::SyncSystem;
using test::value_of;

std::int64_t from_environment(const char* name, std::int64_t otherwise) {
    const char* given = std::getenv(name);
    return given == nullptr ? otherwise : std::strtoll(given, nullptr, 10);
}

/// What this process has in memory, in MiB: now ("VmRSS") or at most so far ("VmHWM").
std::int64_t memory_mib(const std::string& line) {
    std::ifstream status("/proc/self/status");
    std::string word;
    while (status >> word) {
        if (word == line + ":") {
            std::int64_t kib = 0;
            status >> kib;
            return kib / 1024;
        }
    }
    return 0;
}

class PostgresLoad : public testing::Test {
protected:
    PostgresLoad() {
        system.owner_sql("CREATE TABLE users (id integer PRIMARY KEY, name text)");
        system.publish({{"users", "user", {"id"}, {"id", "name"}, {}}});
    }

    void TearDown() override {
        for (const Error& error : system.errors) {
            ADD_FAILURE() << error.message;
        }
    }

    SyncSystem system{{.owner = Home::kPostgres}};
};

TEST_F(PostgresLoad, ATransactionThatIsOpenForLongDelaysNoOther) {
    using std::chrono::steady_clock;
    const std::chrono::seconds open_for(from_environment("INSTEP_OPEN_SECONDS", 3));
    ReplicaSide& side = system.add_replica("billing", "user", "lookup_users");
    system.settle();
    PostgresSession open(system.servers.front()->url());
    open.run("BEGIN; INSERT INTO users VALUES (0, 'open')");
    const auto end = steady_clock::now() + open_for;
    int written = 0;
    while (steady_clock::now() < end) {
        system.owner_sql(fmt::format("INSERT INTO users VALUES ({}, 'next')", ++written));
        // One look of the relay and one of the consumer are all it takes.
        system.step();
        ASSERT_EQ(value_of(*side.sql, "SELECT count(*) FROM lookup_users"),
                  fmt::format("{}", written));
    }
    open.run("COMMIT");
    system.settle();
    EXPECT_EQ(value_of(*side.sql, "SELECT name FROM lookup_users WHERE id = 0"), "open");
    RecordProperty("written", written);
}

TEST_F(PostgresLoad, ALargeTransactionPassesInBoundedMemory) {
    constexpr std::int64_t kMoreMib = 64;
    const std::int64_t rows = from_environment("INSTEP_LARGE_ROWS", 200'000);
    ReplicaSide& side = system.add_replica("billing", "user", "lookup_users");
    system.settle();
    const std::int64_t before = memory_mib("VmRSS");
    system.owner_sql(fmt::format(
        "INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, {}) n", rows));
    system.owner_sql("INSERT INTO users VALUES (0, 'behind')");
    system.settle();

    EXPECT_EQ(value_of(*side.sql, "SELECT count(*) FROM lookup_users"),
              fmt::format("{}", rows + 1));
    EXPECT_LT(memory_mib("VmHWM") - before, kMoreMib);
    RecordProperty("more_mib", fmt::format("{}", memory_mib("VmHWM") - before));
    std::cout << "memory: " << before << " MiB before, at most " << memory_mib("VmHWM") << " MiB\n";
}

}  // namespace
}  // namespace instep
