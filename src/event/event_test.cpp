#include "instep/event/event.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::string_view_literals;
using testing::HasSubstr;

Event smallest() {
    Event event;
    event.id = "1";
    event.source = "iam";
    event.type = "user.created";
    event.key = "7";
    return event;
}

ErrorCode verdict(const Event& event) { return validate(event).error().code; }

TEST(Validate, AcceptsTheSmallestEvent) { EXPECT_TRUE(validate(smallest())); }

TEST(Validate, NamesTheAttributeThatIsMissing) {
    const std::pair<std::string Event::*, const char*> required[] = {{&Event::id, "\"id\""},
                                                                     {&Event::source, "\"source\""},
                                                                     {&Event::type, "\"type\""},
                                                                     {&Event::key, "\"subject\""}};
    for (const auto& [member, name] : required) {
        Event event = smallest();
        (event.*member).clear();
        EXPECT_EQ(verdict(event), ErrorCode::kInvalidArgument);
        EXPECT_THAT(validate(event).error().message, HasSubstr(name));
    }
}

TEST(Validate, RefusesControlCharactersAndBrokenUtf8InEveryAttribute) {
    for (const auto member : {&Event::id, &Event::source, &Event::type, &Event::key, &Event::stream,
                              &Event::content_type, &Event::schema, &Event::correlation_id,
                              &Event::causation_id, &Event::trace_parent}) {
        for (const std::string_view bad :
             {"a\nb"sv, "a\0b"sv, "\x7F"sv, "\xC2\x85"sv, "\xFF"sv, "\xC2"sv}) {
            Event event = smallest();
            event.*member = bad;
            EXPECT_EQ(verdict(event), ErrorCode::kInvalidArgument);
        }
    }
}

TEST(Validate, AcceptsTheCharactersBesideTheForbiddenOnes) {
    Event event = smallest();
    event.key = " ~\xC2\xA0\xE2\x80\x85";
    EXPECT_TRUE(validate(event));
}

TEST(Validate, HoldsAttributesToTheirLimit) {
    Event event = smallest();
    event.correlation_id.assign(kEventAttributeBytesMax, 'x');
    EXPECT_TRUE(validate(event));
    event.correlation_id.push_back('x');
    EXPECT_EQ(verdict(event), ErrorCode::kLimitExceeded);
}

TEST(Validate, HoldsDataToItsLimit) {
    Event event = smallest();
    event.data.assign(kEventDataBytesMax, 'x');
    EXPECT_TRUE(validate(event));
    event.data.push_back('x');
    EXPECT_EQ(verdict(event), ErrorCode::kLimitExceeded);
}

TEST(Validate, HoldsExtensionsToTheirNumber) {
    Event event = smallest();
    for (std::size_t i = 0; i < kEventExtensionsMax; ++i) {
        event.extensions.emplace_back("x" + std::to_string(i), "");
    }
    EXPECT_TRUE(validate(event));
    event.extensions.emplace_back("onemore", "");
    EXPECT_EQ(verdict(event), ErrorCode::kLimitExceeded);
}

TEST(Validate, RefusesExtensionNamesThatWouldBreakAnEncoding) {
    for (const std::string_view name : {""sv, "Upper"sv, "a-b"sv, "a\"b"sv, "data"sv,
                                        "data_base64"sv, "id"sv, "partitionkey"sv, "\xC3\xA4"sv}) {
        Event event = smallest();
        event.extensions.emplace_back(name, "value");
        EXPECT_EQ(verdict(event), ErrorCode::kInvalidArgument) << name;
    }
}

TEST(Validate, RefusesAnExtensionThatComesTwice) {
    Event event = smallest();
    event.extensions = {{"tenant", "a"}, {"tenant", "a"}};
    EXPECT_EQ(verdict(event), ErrorCode::kInvalidArgument);
}

TEST(Operation, ReadsBackEveryName) {
    for (const Operation operation : {Operation::kNone, Operation::kUpsert, Operation::kDelete,
                                      Operation::kChunk, Operation::kDigest}) {
        EXPECT_EQ(parse_operation(to_string(operation)), operation);
    }
    EXPECT_EQ(parse_operation("Upsert").error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(parse_operation("").error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace instep
