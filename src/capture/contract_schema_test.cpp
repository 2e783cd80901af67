#include "instep/capture/contract_schema.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace shop {

struct Item {
    std::string sku;
    std::int64_t cents = 0;
};
INSTEP_FIELDS(Item, sku, cents)

struct OrderPlaced {
    static constexpr std::string_view kType = "order.placed";
    static constexpr std::string_view kSchema = "urn:order.placed:2";
    std::string order_id;
    std::vector<Item> items;
    std::optional<std::string> note;
    double weight = 0;
    bool gift = false;
};
INSTEP_FIELDS(OrderPlaced, order_id, items, note, weight, gift)

}  // namespace shop

namespace instep {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// A published table, and what becomes of it.
class ContractSchemaTest : public testing::Test {
protected:
    ContractSchemaTest() {
        contract.service = "iam";
        contract.table = "users";
        contract.entity = "user";
        contract.dialect = "postgres";
        contract.key = {"id"};
        contract.columns = {column("id", "bigint", ValueKind::kInteger, true),
                            column("name", "varchar(50)", ValueKind::kText, true),
                            column("email", "text", ValueKind::kText, false)};
        contract.columns[2].personal = true;
        before = exported();
    }

    static ContractColumn column(std::string name, std::string type, ValueKind kind,
                                 bool not_null) {
        return {std::move(name), std::move(type), kind, not_null, false};
    }

    [[nodiscard]] std::string exported() const {
        return to_json_schema("iam", published_events(contract));
    }

    /// What became of the contract, as "field change: whom it breaks".
    [[nodiscard]] std::vector<std::string> changes() const {
        const auto differences = compare_contracts(before, exported());
        EXPECT_TRUE(differences) << differences.error().message;
        std::vector<std::string> texts;
        for (const ContractDifference& difference : *differences) {
            EXPECT_EQ(difference.reason.empty(), difference.breaks == Breaks::kNobody);
            texts.push_back(fmt::format("{} {}: {}", difference.field, difference.change,
                                        to_string(difference.breaks)));
        }
        return texts;
    }

    Contract contract;
    std::string before;
};

TEST_F(ContractSchemaTest, DescribesEachTypeOfEvent) {
    const json document = json::parse(before);
    EXPECT_EQ(document["$schema"], "https://json-schema.org/draft/2020-12/schema");
    const json& created = document["$defs"]["user.created"];
    EXPECT_EQ(created["x-topic"], "iam.user");
    EXPECT_EQ(created["x-dataschema"], "iam.user/1");
    EXPECT_EQ(created["required"], json({"id", "name"}));
    EXPECT_EQ(created["properties"]["email"]["type"], json({"string", "null"}));
    EXPECT_EQ(created["properties"]["email"]["x-personal"], true);
    const json& deleted = document["$defs"]["user.deleted"];
    EXPECT_EQ(deleted["properties"].size(), 1U) << "a deletion tells the key only";
    EXPECT_EQ(document["anyOf"][0]["properties"]["data"]["$ref"], "#/$defs/user.created");
}

TEST_F(ContractSchemaTest, DescribesValuesAsTheyTravel) {
    contract.columns.push_back(column("photo", "bytea", ValueKind::kBytes, true));
    contract.columns.push_back(column("balance", "numeric(9,2)", ValueKind::kDecimal, true));
    contract.columns.push_back(column("score", "float8", ValueKind::kReal, true));
    contract.columns.push_back(column("active", "boolean", ValueKind::kBoolean, true));
    const json fields = json::parse(exported())["$defs"]["user.created"]["properties"];
    EXPECT_EQ(fields["photo"]["required"], json::array({"hex"}));
    EXPECT_EQ(fields["balance"]["type"], "string");
    EXPECT_EQ(fields["score"]["type"], json({"number", "object"}));
    EXPECT_EQ(fields["active"]["type"], "boolean");
    contract.dialect = "sqlite";
    EXPECT_EQ(json::parse(exported())["$defs"]["user.created"]["properties"]["active"]["type"],
              "integer");
}

TEST_F(ContractSchemaTest, DescribesTheStructsOfHandlers) {
    const auto event = published_event<shop::OrderPlaced>("shop.order");
    const json order =
        json::parse(to_json_schema("shop", std::span(&event, 1)))["$defs"]["order.placed"];
    EXPECT_EQ(order["x-dataschema"], "urn:order.placed:2");
    EXPECT_EQ(order["required"], json({"order_id", "items", "weight", "gift"}));
    EXPECT_EQ(order["properties"]["note"]["type"], json({"string", "null"}));
    EXPECT_EQ(order["properties"]["items"]["items"]["properties"]["cents"]["type"], "integer");
}

TEST_F(ContractSchemaTest, FindsNothingWhereNothingChanged) { EXPECT_THAT(changes(), IsEmpty()); }

TEST_F(ContractSchemaTest, ADroppedColumnBreaksItsReaders) {
    contract.columns.pop_back();
    EXPECT_THAT(changes(), ElementsAre("email dropped: readers"));
    EXPECT_THAT(compare_contracts(before, exported())->front().types,
                ElementsAre("user.created", "user.updated"));
}

TEST_F(ContractSchemaTest, AnAddedColumnBreaksNobodyUnlessItIsRequired) {
    contract.columns.push_back(column("phone", "text", ValueKind::kText, false));
    EXPECT_THAT(changes(), ElementsAre("phone added: nobody"));
    contract.columns.back().not_null = true;
    EXPECT_THAT(changes(), ElementsAre("phone added and required: past"));
}

TEST_F(ContractSchemaTest, NullBreaksReadersAndItsEndBreaksThePast) {
    contract.columns[1].not_null = false;
    EXPECT_THAT(changes(), ElementsAre("name may be null now: readers"));
    contract.columns[1].not_null = true;
    contract.columns[2].not_null = true;
    EXPECT_THAT(changes(), ElementsAre("email can no longer be null: past"));
}

TEST_F(ContractSchemaTest, AnotherKindOfValueBreaksBoth) {
    contract.columns[1].kind = ValueKind::kInteger;
    EXPECT_THAT(changes(), ElementsAre("name may be integer now: readers",
                                       "name can no longer be string: past"));
}

TEST_F(ContractSchemaTest, AnIntegerIsANumber) {
    const auto schema = [](std::string_view type) {
        return fmt::format(R"({{"$defs": {{"a": {{"properties": {{"n": {{"type": "{}"}}}}}}}}}})",
                           type);
    };
    const auto widened = compare_contracts(schema("integer"), schema("number"));
    ASSERT_THAT(*widened, SizeIs(1));
    EXPECT_EQ(widened->front().breaks, Breaks::kReaders);
    const auto narrowed = compare_contracts(schema("number"), schema("integer"));
    ASSERT_THAT(*narrowed, SizeIs(1));
    EXPECT_EQ(narrowed->front().breaks, Breaks::kPast);
}

TEST_F(ContractSchemaTest, AnotherKeyOrTopicAndAnEndedEventBreakReaders) {
    contract.key = {"name"};
    EXPECT_THAT(changes(), testing::Contains(HasSubstr("has the key [\"name\"] instead of")));
    contract.key = {"id"};
    contract.service = "auth";
    EXPECT_THAT(changes(), ElementsAre(" goes to topic auth.user instead of iam.user: readers"));
    const auto ended = compare_contracts(before, to_json_schema("iam", {}));
    ASSERT_THAT(*ended, SizeIs(1));
    EXPECT_EQ(ended->front().change, "no longer published");
    EXPECT_THAT(ended->front().types, SizeIs(3));
}

TEST_F(ContractSchemaTest, AnotherDeclaredTypeOfTheSameKindIsOnlyTold) {
    contract.columns[1].declared_type = "text";
    contract.version = 2;
    EXPECT_THAT(changes(), ElementsAre("name is declared as text instead of varchar(50): nobody"));
}

TEST_F(ContractSchemaTest, AStructsNewSchemaBreaksReadersUntilTheyKnowIt) {
    auto event = published_event<shop::OrderPlaced>("shop.order");
    const std::string old = to_json_schema("shop", std::span(&event, 1));
    event.schema = "urn:order.placed:3";
    const auto differences = compare_contracts(old, to_json_schema("shop", std::span(&event, 1)));
    ASSERT_THAT(*differences, SizeIs(1));
    EXPECT_THAT(differences->front().reason, HasSubstr("set its events aside"));
}

TEST_F(ContractSchemaTest, LooksIntoListsAndStructs) {
    auto event = published_event<shop::OrderPlaced>("shop.order");
    const std::string old = to_json_schema("shop", std::span(&event, 1));
    json schema = json::parse(event.data_schema);
    schema["properties"]["items"]["items"]["properties"].erase("cents");
    event.data_schema = schema.dump();
    const auto differences = compare_contracts(old, to_json_schema("shop", std::span(&event, 1)));
    ASSERT_THAT(*differences, SizeIs(1));
    EXPECT_EQ(differences->front().field, "items[].cents");
}

TEST_F(ContractSchemaTest, RefusesWhatIsNoContract) {
    for (const char* text : {"", "7", "{}", R"({"$defs": 1})", R"({"$defs": {"a": 7}})",
                             R"({"$defs": {"a": {"type": {}}}})"}) {
        const auto differences = compare_contracts(text, text);
        ASSERT_FALSE(differences) << text;
        EXPECT_EQ(differences.error().code, ErrorCode::kCorrupt) << text;
    }
    EXPECT_THAT(compare_contracts(before, "{").error().message, HasSubstr("the newer contract"));
    std::string deep = "{}";
    for (int i = 0; i < 100; ++i) {
        deep = fmt::format(R"({{"properties": {{"a": {}}}}})", deep);
    }
    deep = fmt::format(R"({{"$defs": {{"a": {}}}}})", deep);
    EXPECT_EQ(compare_contracts(deep, deep).error().code, ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace instep
