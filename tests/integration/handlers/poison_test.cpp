// Handlers that end their process, in processes of their own.
#include "instep/consumer/dead_letters.hpp"
#include "instep/db/postgres/database.hpp"
#include "instep/db/sqlite/database.hpp"
#include "instep/log/log.hpp"
#include "instep/service/service.hpp"
#include "tests/support/process.hpp"
#include "tests/support/sync_system.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>

namespace instep::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;

class PoisonTest : public testing::TestWithParam<Home> {
protected:
    PoisonTest() {
        std::string url = "sqlite:" + folder_.file("shop.db");
        if (GetParam() == Home::kPostgres) {
            server_ = std::make_unique<PostgresDatabase>();
            url = server_->url();
            database_ = open_postgres(url, clock_).value();
        } else {
            database_ = open_sqlite(folder_.file("shop.db"), clock_).value();
        }
        sql_ = database_->connect({.lock_patience = 60s}).value();
        run_sql(*sql_, "CREATE TABLE effects (id text)");
        std::ofstream(folder_.file("shop.toml")) << fmt::format(
            "[service]\nname = 'shop'\ndatabase = '{}'\nbroker = "
            "'embedded:broker.db'\n[[subscription]]\nname = 'orders'\n"
            "topic = 'shop.order'\n",
            url);
        const auto applied = apply_service(
            load_service_file(folder_.file("shop.toml"), process_environment()).value(), clock_,
            {});
        EXPECT_TRUE(applied) << applied.error().message;
    }

    void append(std::string id, std::string key, std::string data) {
        NewEvent event;
        event.topic = "shop.order";
        event.type = "order.placed";
        event.id = std::move(id);
        event.key = std::move(key);
        event.data = std::move(data);
        auto transaction = Transaction::begin(*sql_, TransactionMode::kWrite).value();
        ASSERT_TRUE(instep::append(transaction, std::span(&event, 1)));
        ASSERT_TRUE(transaction.commit());
    }

    /// Starts the service, again and again, until `done`. Returns how often it ended before.
    int run_until(const std::function<bool()>& done) {
        for (int ends = 0; ends < 12; ++ends) {
            Process service(POISON_SERVICE,
                            {.arguments = {"shop.toml"}, .directory = folder_.path().string()});
            bool is_done = false;
            EXPECT_TRUE(eventually([&] {
                is_done = done();
                return is_done || service.has_ended();
            }));
            if (is_done) {
                service.signal(SIGKILL);
                return ends;
            }
            EXPECT_EQ(service.wait().exit, 128 + SIGABRT);
            expire_what_it_held();
        }
        return -1;
    }

    /// Nobody needs to wait for leases to run out; given up they are not.
    void expire_what_it_held() {
        run_sql(*sql_, "UPDATE instep_lease SET until_us = 1");
        auto broker = open_sqlite(folder_.file("broker.db"), clock_).value();
        run_sql(*broker->connect({.lock_patience = 60s}).value(),
                "UPDATE instep_member SET until_us = 0");
    }

    [[nodiscard]] std::vector<std::string> effects() const {
        return rows_of(*sql_, "SELECT id FROM effects ORDER BY id");
    }

    SystemClock clock_;
    TempDir folder_;
    std::unique_ptr<PostgresDatabase> server_;
    std::unique_ptr<Database> database_;
    std::unique_ptr<Connection> sql_;
};

TEST_P(PoisonTest, IsParkedAfterSomeStartsAndEverythingElseGoesOn) {
    std::vector<std::string> sound;
    for (int i = 10; i < 40; ++i) {
        const bool is_poison = i == 25;
        append(fmt::format("e{}", i), is_poison ? "bad" : fmt::format("k{}", i % 3),
               is_poison ? "\"poison\"" : "\"sound\"");
        if (!is_poison) {
            sound.push_back(fmt::format("e{}", i));
        }
    }
    append("e40", "bad", "\"sound\"");
    const int ends = run_until([&] {
        const auto dead = list_dead_letters(*sql_, {}, 10);
        return dead && !dead->empty() && dead->front().events == 2 && effects() == sound;
    });
    EXPECT_GE(ends, 3);
    EXPECT_LE(ends, 5);
    const auto dead = list_dead_letters(*sql_, {}, 10).value();
    ASSERT_EQ(dead.size(), 1U);
    EXPECT_EQ(dead[0].key, "bad");
    EXPECT_EQ(dead[0].events, 2U);
    EXPECT_THAT(dead[0].error_message, HasSubstr("event e25 of order.placed: the process ended 3"));
}

TEST_P(PoisonTest, AProcessThatIsKilledByChanceCostsNoEvent) {
    append("e1", "a", "\"sound\"");
    EXPECT_EQ(run_until([&] { return effects().size() == 1; }), 0);
    expire_what_it_held();
    append("e2", "a", "\"sound\"");
    EXPECT_EQ(run_until([&] { return effects().size() == 2; }), 0);
    EXPECT_THAT(list_dead_letters(*sql_, {}, 10).value(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(On, PoisonTest, testing::Values(Home::kSqlite, Home::kPostgres),
                         [](const auto& home) {
                             return home.param == Home::kSqlite ? "Sqlite" : "Postgres";
                         });

}  // namespace
}  // namespace instep::test
