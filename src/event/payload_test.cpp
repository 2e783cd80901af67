#include "instep/event/payload.hpp"

#include <gtest/gtest.h>

namespace shop {

struct Item {
    std::string sku;
    std::int32_t count = 0;
    friend bool operator==(const Item&, const Item&) = default;
};
INSTEP_FIELDS(Item, sku, count)

struct OrderPlaced {
    static constexpr std::string_view kType = "order.placed";
    static constexpr std::string_view kSchema = "urn:order.placed:1";
    std::string order_id;
    std::int64_t total_cents = 0;
    std::optional<std::string> note;
    std::vector<Item> items;
    bool is_gift = false;
    double weight = 0;
    friend bool operator==(const OrderPlaced&, const OrderPlaced&) = default;
};
INSTEP_FIELDS(OrderPlaced, order_id, total_cents, note, items, is_gift, weight)

struct Nothing {
    static constexpr std::string_view kType = "nothing.happened";
};
INSTEP_FIELDS(Nothing)

struct Wide {
    int f01{}, f02{}, f03{}, f04{}, f05{}, f06{}, f07{}, f08{}, f09{}, f10{}, f11{}, f12{}, f13{},
        f14{}, f15{}, f16{}, f17{}, f18{}, f19{}, f20{}, f21{}, f22{}, f23{}, f24{}, f25{};
};
INSTEP_FIELDS(Wide, f01, f02, f03, f04, f05, f06, f07, f08, f09, f10, f11, f12, f13, f14, f15, f16,
              f17, f18, f19, f20, f21, f22, f23, f24, f25)

}  // namespace shop

namespace instep {
namespace {

using shop::Item;
using shop::OrderPlaced;

static_assert(Payload<OrderPlaced> && Fields<Item> && !Payload<Item> && !Fields<std::string>);
static_assert(schema_of<OrderPlaced>() == "urn:order.placed:1");
static_assert(schema_of<shop::Nothing>().empty());

std::string problem_of(std::string_view json) {
    const auto read = from_payload<OrderPlaced>(json);
    return read ? "" : read.error().message;
}

TEST(PayloadTest, ComesBackAsItWasWritten) {
    const OrderPlaced order{"o-1", 1999, "for \"you\"", {{"book", 2}, {"pen", -1}}, true, 0.5};
    const std::string json = to_payload(order);
    EXPECT_EQ(json, R"({"order_id":"o-1","total_cents":1999,"note":"for \"you\"","items":)"
                    R"([{"sku":"book","count":2},{"sku":"pen","count":-1}],"is_gift":true,)"
                    R"("weight":0.5})");
    EXPECT_EQ(from_payload<OrderPlaced>(json).value(), order);
    EXPECT_EQ(to_payload(OrderPlaced{}),
              R"({"order_id":"","total_cents":0,"note":null,"items":[],"is_gift":false,)"
              R"("weight":0.0})");
    EXPECT_EQ(to_payload(shop::Nothing{}), "{}");
    EXPECT_EQ(from_payload<shop::Wide>(to_payload(shop::Wide{.f25 = 7}))->f25, 7);
}

TEST(PayloadTest, LeavesOutWhatIsOptionalAndIgnoresWhatItDoesNotKnow) {
    const auto order = from_payload<OrderPlaced>(
        R"({"new":{"x":1},"order_id":"o","total_cents":1,"items":[],"is_gift":false,"weight":1})");
    ASSERT_TRUE(order) << order.error().message;
    EXPECT_EQ(order->note, std::nullopt);
    EXPECT_EQ(order->weight, 1);
}

TEST(PayloadTest, NamesTheFieldThatIsWrong) {
    EXPECT_EQ(problem_of("{}"), "order_id: is missing");
    EXPECT_EQ(problem_of(R"({"order_id":7})"), "order_id: is a number, not text");
    EXPECT_EQ(problem_of(R"({"order_id":"o","total_cents":1.5})"),
              "total_cents: is a number, not an integer of 64 bits");
    EXPECT_EQ(problem_of(R"({"order_id":"o","total_cents":1,"items":[{"sku":"x","count":5e9}]})"),
              "items: count: is a number, not an integer of 64 bits");
    EXPECT_EQ(
        problem_of(R"({"order_id":"o","total_cents":1,"items":[{"sku":"x","count":5000000000}]})"),
        "items: count: the number is too large for the field");
    EXPECT_EQ(problem_of("[]"), "is an array, not an object");
    EXPECT_EQ(from_payload<OrderPlaced>("{").error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(from_payload<OrderPlaced>("").error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace instep
