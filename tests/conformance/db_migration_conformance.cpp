#include "tests/conformance/db_conformance.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <barrier>
#include <thread>

namespace instep::test {

namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Migration kFirst{1, "items", "CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY)"};
constexpr Migration kSecond{2, "rows", "INSERT INTO item VALUES (1); INSERT INTO item VALUES (2)"};
constexpr Migration kThird{3, "row", "INSERT INTO item VALUES (3)"};
constexpr Migration kAll[] = {kFirst, kSecond, kThird};

ErrorCode code(const auto& result) { return result.error().code; }

}  // namespace

TEST_P(DbConformance, TakesEachMigrationOnce) {
    EXPECT_EQ(migrate(connection(), std::span(kAll).first(2)).value(), 2U);
    EXPECT_EQ(migrate(connection(), kAll).value(), 1U);
    EXPECT_EQ(migrate(connection(), kAll).value(), 0U);

    EXPECT_THAT(items(connection()), ElementsAre(1, 2, 3));
    EXPECT_EQ(migration_level(connection()).value(), 3U);
}

TEST_P(DbConformance, TellsTheLevelWithoutChangingAnything) {
    EXPECT_EQ(migration_level(connection()).value(), 0U);

    EXPECT_EQ(code(connection().execute("SELECT * FROM instep_migration", {})),
              ErrorCode::kNotFound);
}

TEST_P(DbConformance, GoesOnWithTheStepAtWhichAMigrationBroke) {
    constexpr Migration kBroken[] = {
        kFirst, {2, "rows", "INSERT INTO item VALUES (1); INSERT INTO nowhere VALUES (2)"}};
    const auto outcome = migrate(connection(), kBroken);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(code(outcome), ErrorCode::kNotFound);
    EXPECT_THAT(outcome.error().message, HasSubstr("migration 2 (rows)"));
    EXPECT_EQ(migration_level(connection()).value(), 1U);
    EXPECT_THAT(items(connection()), IsEmpty());

    EXPECT_EQ(migrate(connection(), kAll).value(), 2U);
    EXPECT_THAT(items(connection()), ElementsAre(1, 2, 3));
}

TEST_P(DbConformance, MigratesFromSeveralConnectionsAtOnce) {
    constexpr std::uint32_t kSteps = 50;
    std::vector<std::string> scripts;
    std::vector<Migration> migrations;
    for (std::uint32_t number = 1; number <= kSteps; ++number) {
        scripts.push_back("CREATE TABLE step" + std::to_string(number) + " (id BIGINT)");
    }
    for (const std::string& script : scripts) {
        migrations.push_back({static_cast<std::uint32_t>(migrations.size() + 1), "step", script});
    }
    std::atomic<std::uint32_t> taken = 0;
    std::barrier start(4);
    const auto call = [&] {
        const auto own = connect({.durability = Durability::kProcess, .lock_patience = 60s});
        start.arrive_and_wait();
        const auto steps = migrate(*own, migrations);
        EXPECT_TRUE(steps) << steps.error().message;
        taken += steps.value_or(0);
    };
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i) {
        callers.emplace_back(call);
    }
    for (std::thread& caller : callers) {
        caller.join();
    }

    EXPECT_EQ(taken, kSteps);
    EXPECT_EQ(migration_level(connection()).value(), kSteps);
}

TEST_P(DbConformance, RefusesAMigrationWhoseTextHasChanged) {
    migrate(connection(), kAll).value();
    constexpr Migration kOther[] = {kFirst, {2, "rows", "INSERT INTO item VALUES (7)"}, kThird};

    const auto outcome = migrate(connection(), kOther);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(code(outcome), ErrorCode::kSchemaMismatch);
    EXPECT_THAT(outcome.error().message, HasSubstr("migration 2 (rows)"));
}

TEST_P(DbConformance, RefusesADatabaseThatIsNewerThanTheProgram) {
    migrate(connection(), kAll).value();

    EXPECT_EQ(code(migrate(connection(), std::span(kAll).first(2))), ErrorCode::kSchemaMismatch);
    EXPECT_EQ(migration_level(connection()).value(), 3U);
}

}  // namespace instep::test
