#include "instep/log/publish_contract.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using testing::HasSubstr;

/// As `instep contract export` writes an order with its items.
constexpr std::string_view kOrders = R"({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "$defs": {
    "order.placed": {
      "x-topic": "shop.order", "x-dataschema": "urn:order.placed:2", "description": "An order",
      "type": "object",
      "properties": {
        "order_id": {"type": "string"},
        "note": {"type": ["string", "null"], "x-personal": true},
        "weight": {"type": "number"},
        "items": {"type": "array", "items": {
          "type": "object",
          "properties": {"sku": {"type": "string"}, "cents": {"type": "integer"}},
          "required": ["sku", "cents"]}}
      },
      "required": ["order_id", "items"]
    },
    "order.paid": {}
  }
})";

class PublishContractTest : public testing::Test {
protected:
    static NewEvent event(std::string data) {
        NewEvent event;
        event.topic = "shop.order";
        event.key = "o-1";
        event.type = "order.placed";
        event.schema = "urn:order.placed:2";
        event.data = std::move(data);
        return event;
    }

    /// What is wrong with it; empty if nothing is.
    [[nodiscard]] std::string problem(const NewEvent& event) const {
        const auto checked = contract.check(event);
        EXPECT_TRUE(checked || checked.error().code == ErrorCode::kRejected);
        return checked ? "" : checked.error().message;
    }

    PublishContract contract = PublishContract::compile(kOrders).value();
};

TEST_F(PublishContractTest, TakesWhatKeepsToIt) {
    for (const char* data : {
             R"({"order_id":"o-1","items":[]})",
             R"({"order_id":"o-1","note":null,"weight":2,"items":[{"sku":"a","cents":5}]})",
             R"({"order_id":"","note":"x","weight":2.5,"items":[],"added later":{}})",
         }) {
        EXPECT_EQ(problem(event(data)), "") << data;
    }
}

TEST_F(PublishContractTest, NamesTheFieldThatDiffers) {
    EXPECT_THAT(problem(event(R"({"items":[]})")), HasSubstr("data.order_id is missing"));
    EXPECT_THAT(problem(event(R"({"order_id":7,"items":[]})")),
                HasSubstr("data.order_id is integer, not string"));
    EXPECT_THAT(problem(event(R"({"order_id":"","items":[],"note":true})")),
                HasSubstr("data.note is boolean, not null or string"));
    EXPECT_THAT(problem(event(R"({"order_id":"","items":[],"weight":"2"})")),
                HasSubstr("data.weight is string, not number"));
    EXPECT_THAT(problem(event(R"({"order_id":"","items":[{"sku":"a","cents":1},{"sku":"b",)"
                              R"("cents":1.5}]})")),
                HasSubstr("data.items[1].cents is number, not integer"));
    EXPECT_THAT(problem(event("[]")), HasSubstr("data is array, not object"));
}

TEST_F(PublishContractTest, RefusesWhatItDoesNotPromise) {
    NewEvent other = event(R"({"order_id":"","items":[]})");
    other.type = "order.cancelled";
    EXPECT_THAT(problem(other), HasSubstr("no event of this type"));
    other = event(R"({"order_id":"","items":[]})");
    other.topic = "shop.orders";
    EXPECT_THAT(problem(other), HasSubstr("goes to topic shop.orders, not shop.order"));
    other = event(R"({"order_id":"","items":[]})");
    other.schema = "urn:order.placed:1";
    EXPECT_THAT(problem(other), HasSubstr("its schema is \"urn:order.placed:1\""));
}

TEST_F(PublishContractTest, RefusesDataThatIsNoJson) {
    for (const char* data : {"", "{", "\xff", R"({"order_id":"o-1","items":[]} x)"}) {
        EXPECT_THAT(problem(event(data)), HasSubstr("its data is not JSON")) << data;
    }
}

TEST_F(PublishContractTest, ASchemaThatSaysNothingAllowsAnyJson) {
    NewEvent paid = event("7");
    paid.type = "order.paid";
    EXPECT_EQ(problem(paid), "");
}

TEST_F(PublishContractTest, IsMadeOfAContractOnly) {
    for (const char* text :
         {"", "7", "{}", R"({"$defs": 1})", R"({"$defs": {"a": 7}})",
          R"({"$defs": {"a": {"type": {}}}})", R"({"$defs": {"a": {"type": "text"}}})",
          R"({"$defs": {"a": {"x-topic": 7}}})"}) {
        const auto refused = PublishContract::compile(text);
        ASSERT_FALSE(refused) << text;
        EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt) << text;
    }
    std::string deep = "{}";
    for (int i = 0; i < 100; ++i) {
        deep = fmt::format(R"({{"items": {}}})", deep);
    }
    EXPECT_EQ(
        PublishContract::compile(fmt::format(R"({{"$defs": {{"a": {}}}}})", deep)).error().code,
        ErrorCode::kLimitExceeded);
}

TEST_F(PublishContractTest, RefusesARuleThatItWouldNotApply) {
    const auto refused = PublishContract::compile(
        R"({"$defs": {"a": {"properties": {"name": {"pattern": "^[a-z]+$"}}}}})");
    ASSERT_FALSE(refused) << "who wrote it relies on it";
    EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(refused.error().message, HasSubstr("the schema of a: name: "));
    EXPECT_THAT(refused.error().message, HasSubstr("\"pattern\""));
}

}  // namespace
}  // namespace instep
