#include "instep/capture/contract.hpp"

#include "tests/support/sync_system.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using test::SyncSystem;
using testing::HasSubstr;

class ContractTest : public testing::Test {
protected:
    ContractTest() {
        system.owner_sql(
            "CREATE TABLE users (id TEXT NOT NULL PRIMARY KEY, name TEXT, score REAL, "
            "double_score REAL AS (score * 2));"
            "CREATE TABLE readings (at REAL PRIMARY KEY, value INTEGER);"
            "CREATE TABLE heap (a, b)");
    }

    Error refused(const PublishEntry& entry) {
        auto contract = bind_contract(*system.owner, "iam", entry);
        EXPECT_FALSE(contract);
        return contract ? Error{} : contract.error();
    }

    SyncSystem system;
};

TEST_F(ContractTest, TakesTypesFromTheCatalogue) {
    const auto contract =
        bind_contract(*system.owner, "iam", {"users", "user", {"id"}, {"id", "score"}, {"score"}});
    ASSERT_TRUE(contract);
    EXPECT_EQ(contract->topic(), "iam.user");
    EXPECT_EQ(contract->schema(), "iam.user/1");
    EXPECT_EQ(contract->columns[1],
              (ContractColumn{"score", "REAL", ValueKind::kReal, false, true}));
}

TEST_F(ContractTest, SurvivesJson) {
    const auto contract =
        bind_contract(*system.owner, "iam", {"users", "user", {"id"}, {"id", "name"}, {"name"}});
    ASSERT_TRUE(contract);
    EXPECT_EQ(contract_from_json(to_json(*contract)).value(), *contract);
    EXPECT_EQ(contract_from_json("{}").error().code, ErrorCode::kCorrupt);
}

TEST_F(ContractTest, SuggestsTheNearestName) {
    EXPECT_THAT(refused({"user", "user", {"id"}, {"id"}, {}}).message,
                HasSubstr("did you mean users?"));
    const Error column = refused({"users", "user", {"id"}, {"id", "nam"}, {}});
    EXPECT_EQ(column.code, ErrorCode::kNotFound);
    EXPECT_THAT(column.message, HasSubstr("did you mean name?"));
}

TEST_F(ContractTest, RefusesWhatCannotIdentifyARow) {
    EXPECT_EQ(refused({"users", "user", {"name"}, {"id", "name"}, {}}).code,
              ErrorCode::kUnsupported);
    EXPECT_EQ(refused({"readings", "reading", {"at"}, {"at"}, {}}).code, ErrorCode::kUnsupported);
    EXPECT_EQ(refused({"heap", "heap", {"a"}, {"a"}, {}}).code, ErrorCode::kUnsupported);
    EXPECT_EQ(refused({"users", "user", {}, {"id"}, {}}).code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(refused({"users", "user", {"id"}, {"name"}, {}}).code, ErrorCode::kInvalidArgument);
}

TEST_F(ContractTest, RefusesDoubledAndUnpublishedNames) {
    EXPECT_EQ(refused({"users", "user", {"id"}, {"id", "id"}, {}}).code,
              ErrorCode::kInvalidArgument);
    EXPECT_EQ(refused({"users", "user", {"id"}, {"id"}, {"name"}}).code,
              ErrorCode::kInvalidArgument);
    EXPECT_EQ(refused({"users", "User!", {"id"}, {"id"}, {}}).code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace instep
