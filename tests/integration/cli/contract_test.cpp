#include "tests/integration/cli/cli_fixture.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace instep::test {
namespace {

using testing::HasSubstr;

class ContractCommandTest : public CliTest {
protected:
    /// Keeps what iam.toml publishes now in a file.
    void export_to(std::string_view file) const {
        const Finished exported = run({"contract", "export", "iam.toml"});
        ASSERT_EQ(exported.exit, 0) << exported.err;
        given_file(file, exported.out);
    }
};

TEST_F(ContractCommandTest, ExportsAJsonSchemaBeforeAndAfterApply) {
    given_services();
    const auto document = nlohmann::json::parse(run({"contract", "export", "iam.toml"}).out);
    EXPECT_EQ(document["$schema"], "https://json-schema.org/draft/2020-12/schema");
    EXPECT_EQ(document["$defs"]["user.created"]["x-dataschema"], "iam.user/1");
    EXPECT_FALSE(document.dump().contains("password")) << "a private column";
    ASSERT_EQ(run({"apply", "iam.toml", "data_owner.toml"}).exit, 0);
    EXPECT_EQ(nlohmann::json::parse(run({"contract", "export", "iam.toml"}).out), document);
    const auto in_json = run_json({"contract", "export", "iam.toml"}, "instep.contract/1");
    EXPECT_EQ(nlohmann::json::parse(in_json["document"].get<std::string>()), document);
}

TEST_F(ContractCommandTest, TellsTheVersionThatApplyWillGive) {
    given_applied_services();
    sql("iam.db", "ALTER TABLE users RENAME COLUMN email TO mail");
    const Finished missing = run({"contract", "export", "iam.toml"});
    EXPECT_EQ(missing.exit, 5) << missing.err;
    sql("iam.db", "ALTER TABLE users RENAME COLUMN mail TO email");
    EXPECT_THAT(run({"contract", "export", "iam.toml"}).out, HasSubstr("iam.user/1"));
}

TEST_F(ContractCommandTest, ABreakingChangeEndsWithEight) {
    given_services();
    export_to("old.json");
    EXPECT_EQ(run({"contract", "diff", "old.json", "old.json"}).exit, 0);
    auto document = nlohmann::json::parse(run({"contract", "export", "iam.toml"}).out);
    document["$defs"]["user.created"]["properties"].erase("username");
    given_file("new.json", document.dump());
    const Finished human = run({"contract", "diff", "old.json", "new.json"});
    EXPECT_EQ(human.exit, 8);
    EXPECT_THAT(human.out, HasSubstr("dropped"));
    EXPECT_THAT(human.out, HasSubstr("breaking: "));
    const Finished back = run({"contract", "diff", "new.json", "old.json", "--ignore-past"});
    EXPECT_EQ(back.exit, 0) << back.out;
    EXPECT_EQ(run({"contract", "diff", "new.json", "old.json"}).exit, 8);
}

TEST_F(ContractCommandTest, TellsDifferencesInJson) {
    given_services();
    export_to("old.json");
    const auto same =
        run_json({"contract", "diff", "old.json", "old.json"}, "instep.contract.diff/1");
    EXPECT_EQ(same["compatible"], true);
    EXPECT_TRUE(same["differences"].empty());
}

TEST_F(ContractCommandTest, RefusesFilesThatAreMissingOrNoContract) {
    given_services();
    export_to("old.json");
    EXPECT_EQ(run({"contract", "diff", "old.json", "none.json"}).exit, 5);
    EXPECT_EQ(run({"contract", "diff", "old.json", "."}).exit, 5);
    given_file("text.json", "not a contract");
    const Finished refused = run({"contract", "diff", "text.json", "old.json"});
    EXPECT_EQ(refused.exit, 1);
    EXPECT_THAT(refused.err, HasSubstr("the older contract"));
    EXPECT_EQ(run({"contract", "diff", "old.json"}).exit, 2);
}

}  // namespace
}  // namespace instep::test
