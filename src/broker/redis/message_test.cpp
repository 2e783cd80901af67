#include "message.hpp"

#include "names.hpp"

#include <gmock/gmock.h>

namespace instep::redis {

namespace {

using ::testing::HasSubstr;

Token text(std::string_view bytes) {
    return {.kind = Token::Kind::kText, .number = 0, .text = bytes};
}

Delivery read(std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
    EntryReader reader;
    reader.begin();
    for (const auto& [name, value] : fields) {
        reader.name(text(name));
        reader.value(text(value));
    }
    return reader.finish(0, 1);
}

}  // namespace

TEST(EntryReader, ReadsBinaryModeOfOtherPrograms) {
    const Delivery delivery = read({{"ce_specversion", "1.0"},
                                    {"ce_id", "1"},
                                    {"ce_source", "shop"},
                                    {"ce_type", "order.placed"},
                                    {"ce_subject", "order-1"},
                                    {"ce_zone", "eu"},
                                    {"content-type", "text/plain"},
                                    {"data", "hello"}});
    ASSERT_FALSE(delivery.malformed) << delivery.malformed->message;
    EXPECT_EQ(delivery.event.key, "order-1");
    EXPECT_EQ(delivery.event.content_type, "text/plain");
    EXPECT_EQ(delivery.event.data, "hello");
    EXPECT_EQ(delivery.event.extensions, (std::vector<Attribute>{{"zone", "eu"}}));
}

TEST(EntryReader, TakesTheContentTypeOfAnEntryThatNamesItTwice) {
    for (const std::string_view second : {"application/json", "text/plain"}) {
        const Delivery delivery = read({{"ce_specversion", "1.0"},
                                        {"ce_datacontenttype", second},
                                        {"ce_id", "1"},
                                        {"ce_source", "shop"},
                                        {"ce_type", "order.placed"},
                                        {"ce_subject", "order-1"},
                                        {"content-type", "text/plain"},
                                        {"data", "hello"}});
        ASSERT_FALSE(delivery.malformed) << delivery.malformed->message;
        EXPECT_EQ(delivery.event.content_type, "text/plain");
    }
}

TEST(EntryReader, ReadsStructuredMode) {
    const Delivery delivery =
        read({{"content-type", "application/cloudevents+json; charset=utf-8"},
              {"data", R"({"specversion":"1.0","id":"1","source":"shop","type":"order.placed",)"
                       R"("subject":"order-1","data":{"total":1}})"}});
    ASSERT_FALSE(delivery.malformed) << delivery.malformed->message;
    EXPECT_EQ(delivery.event.key, "order-1");
    EXPECT_EQ(delivery.event.data, R"({"total":1})");
}

TEST(EntryReader, KeepsWhatIsNoEventAsMalformed) {
    const auto check = [](const Delivery& delivery, std::string_view why, std::string_view data) {
        ASSERT_TRUE(delivery.malformed);
        EXPECT_THAT(delivery.malformed->message, HasSubstr(why));
        EXPECT_EQ(delivery.event.data, data);
    };
    check(read({{"data", "junk"}}), "none of the fields", "junk");
    check(read({{"temperature", "7"}, {"unit", "C"}}), "none of the fields",
          "temperature=7\nunit=C\n");
    check(read({}), "none of the fields", "");
    check(read({{"ce_specversion", "2.0"}, {"ce_id", "1"}, {"data", "x"}}), "CloudEvents 2.0", "x");
    check(read({{"ce_id", "1"}, {"data", "x"}}), "specversion", "x");
    check(read({{"ce_specversion", "1.0"}, {"ce_id", "\xff"}, {"data", "x"}}), "\"id\"", "x");
    check(read({{"ce_specversion", "1.0"}, {"ce_id", "1"}, {"ce_id", "2"}, {"data", "x"}}), "twice",
          "x");
    check(read({{"content-type", "application/cloudevents+json"}, {"data", "{"}}), "no event", "{");
    const Delivery keyed = read({{"ce_specversion", "9"}, {"ce_subject", "order-1"}});
    EXPECT_EQ(keyed.event.key, "order-1");
}

TEST(EntryReader, BeginsEachEntryAnew) {
    EntryReader reader;
    reader.begin();
    reader.name(text("ce_id"));
    reader.value(text("1"));
    std::ignore = reader.finish(0, 1);
    reader.begin();
    reader.name(text("data"));
    reader.value(text("junk"));
    EXPECT_THAT(reader.finish(0, 2).malformed->message, HasSubstr("none of the fields"));
}

TEST(EntryId, IsAPositionBothWays) {
    EXPECT_EQ(parse_entry_id("0-0"), 0U);
    EXPECT_EQ(to_entry_id(*parse_entry_id("1767225600000-7")), "1767225600000-7");
    EXPECT_LT(*parse_entry_id("1767225600000-1048575"), *parse_entry_id("1767225600001-0"));
    EXPECT_EQ(parse_entry_id("1-1048576"), std::nullopt);
    EXPECT_EQ(parse_entry_id("17592186044416-0"), std::nullopt);
    for (const std::string_view id : {"", "1", "-", "1-", "-1", "a-b", "1-2-3"}) {
        EXPECT_EQ(parse_entry_id(id), std::nullopt) << id;
    }
}

}  // namespace instep::redis
