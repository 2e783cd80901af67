#include "instep/event/cloudevents.hpp"
#include "tests/support/random_event.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

using Attributes = std::vector<Attribute>;

const Attributes kSmallest = {
    {"specversion", "1.0"}, {"id", "1"}, {"source", "iam"}, {"type", "user.created"}};

Attributes smallest_and(Attributes more) {
    Attributes attributes = kSmallest;
    attributes.insert(attributes.end(), more.begin(), more.end());
    return attributes;
}

ErrorCode verdict(const Attributes& attributes) {
    return from_attributes(attributes, "").error().code;
}

TEST(Attributes, UseTheNamesAndFormsOfTheWire) {
    Event event;
    event.id = "e-1";
    event.source = "iam";
    event.type = "user.updated";
    event.key = "7";
    event.time = Timestamp{1s};
    event.version = {1, 42, 0};
    event.incarnation = 0xABC;
    event.operation = Operation::kUpsert;
    event.stream = "user-7";
    event.stream_version = 3;
    event.schema = "s";
    event.correlation_id = "c";
    event.causation_id = "e-0";
    event.trace_parent = "t";
    event.extensions = {{"tenant", "blue"}};
    EXPECT_EQ(to_attributes(event),
              (Attributes{{"specversion", "1.0"},
                          {"id", "e-1"},
                          {"source", "iam"},
                          {"type", "user.updated"},
                          {"subject", "7"},
                          {"partitionkey", "7"},
                          {"time", "1970-01-01T00:00:01.000000Z"},
                          {"sequence", "0000000001.00000000000000000042.0000000000"},
                          {"incarnation", "0000000000000abc"},
                          {"operation", "upsert"},
                          {"stream", "user-7"},
                          {"streamversion", "3"},
                          {"datacontenttype", "application/json"},
                          {"dataschema", "s"},
                          {"correlationid", "c"},
                          {"causationid", "e-0"},
                          {"traceparent", "t"},
                          {"tenant", "blue"}}));
}

TEST(Attributes, LeaveOutWhatIsEmpty) {
    const Event event = from_attributes(smallest_and({{"subject", "7"}}), "").value();
    EXPECT_EQ(to_attributes(event).size(), 7U);
}

TEST(Attributes, ReadBackWhateverTheyWrote) {
    SeededRandom random(1);
    for (int i = 0; i < 2000; ++i) {
        const Event event = test::random_event(random);
        ASSERT_TRUE(validate(event));
        EXPECT_EQ(from_attributes(to_attributes(event), event.data).value(), event);
    }
}

TEST(AttributeViews, AreThoseOfTheLastEvent) {
    SeededRandom random(3);
    AttributeViews views;
    for (int i = 0; i < 500; ++i) {
        const Event event = test::random_event(random);
        const auto given = views.of(event);
        EXPECT_EQ(Attributes(given.begin(), given.end()), to_attributes(event));
        EXPECT_EQ(from_attributes(given, event.data).value(), event);
    }
}

TEST(AttributeViews, StayWhereTheyAreAlsoForTheLongestTexts) {
    Event event = from_attributes(smallest_and({{"subject", "7"}}), "").value();
    event.time = Timestamp::max();
    event.version = {UINT32_MAX, UINT64_MAX, UINT32_MAX};
    event.incarnation = UINT64_MAX;
    event.stream_version = UINT64_MAX;
    AttributeViews views;
    const auto given = views.of(event);
    EXPECT_EQ(Attributes(given.begin(), given.end()),
              smallest_and({{"subject", "7"},
                            {"partitionkey", "7"},
                            {"time", format_time(event.time)},
                            {"sequence", to_sequence(event.version)},
                            {"incarnation", "ffffffffffffffff"},
                            {"streamversion", "18446744073709551615"},
                            {"datacontenttype", "application/json"}}));
}

TEST(Attributes, DoNotDependOnTheirOrder) {
    SeededRandom random(2);
    for (int i = 0; i < 500; ++i) {
        const Event event = test::random_event(random);
        Attributes attributes = to_attributes(event);
        std::ranges::reverse(attributes);
        EXPECT_EQ(to_attributes(from_attributes(attributes, "").value()).size(), attributes.size());
    }
}

TEST(Attributes, TakeTheSubjectAsKeyWhereThereIsNoPartitionKey) {
    EXPECT_EQ(from_attributes(smallest_and({{"subject", "7"}}), "")->key, "7");
}

TEST(Attributes, KeepASubjectThatIsNotTheKey) {
    const Attributes given = smallest_and({{"subject", "img.png"}, {"partitionkey", "7"}});
    const Event event = from_attributes(given, "").value();
    EXPECT_EQ(event.key, "7");
    EXPECT_EQ(event.extensions, (Attributes{{"subject", "img.png"}}));
    EXPECT_THAT(to_attributes(event), testing::IsSupersetOf(given));
}

TEST(Attributes, RefuseAnotherSpecVersion) {
    Attributes attributes = smallest_and({{"subject", "7"}});
    attributes[0].second = "0.3";
    EXPECT_EQ(verdict(attributes), ErrorCode::kSchemaMismatch);
}

TEST(Attributes, RefuseAnEventWithoutARequiredOne) {
    const Attributes complete = smallest_and({{"subject", "7"}});
    for (std::size_t i = 0; i < complete.size(); ++i) {
        Attributes attributes = complete;
        attributes[i].second.clear();
        EXPECT_EQ(verdict(attributes), ErrorCode::kInvalidArgument) << complete[i].first;
        attributes.erase(attributes.begin() + static_cast<std::ptrdiff_t>(i));
        EXPECT_EQ(verdict(attributes), ErrorCode::kInvalidArgument) << complete[i].first;
    }
}

TEST(Attributes, RefuseOneThatComesTwice) {
    EXPECT_EQ(verdict(smallest_and({{"subject", "7"}, {"id", "1"}})), ErrorCode::kInvalidArgument);
    EXPECT_EQ(verdict(smallest_and({{"subject", "7"}, {"tenant", "a"}, {"tenant", "b"}})),
              ErrorCode::kInvalidArgument);
}

TEST(Attributes, NameTheOneThatCannotBeRead) {
    for (const Attribute& bad : Attributes{{"time", "yesterday"},
                                           {"sequence", "42"},
                                           {"incarnation", "abc"},
                                           {"incarnation", "000000000000000g"},
                                           {"incarnation", "-00000000000000a"},
                                           {"operation", "merge"},
                                           {"streamversion", "-1"},
                                           {"streamversion", "1.0"},
                                           {"streamversion", "18446744073709551616"},
                                           {"Tenant", "a"},
                                           {"data", "a"},
                                           {"tenant", "a\nb"},
                                           {"tenant", "\xFF"}}) {
        const auto event = from_attributes(smallest_and({{"subject", "7"}, bad}), "");
        ASSERT_FALSE(event) << bad.first;
        EXPECT_EQ(event.error().code, ErrorCode::kInvalidArgument) << bad.first;
        EXPECT_THAT(event.error().message, HasSubstr(bad.first));
    }
}

TEST(Attributes, ShowHostileNamesEscaped) {
    const auto event = from_attributes(Attributes{{"a\nb\xFF", "1"}}, "");
    EXPECT_THAT(event.error().message, HasSubstr(R"("a\nb\xff")"));
}

TEST(Attributes, StopAtTheLimits) {
    Attributes many = smallest_and({{"subject", "7"}});
    for (int i = 0; i < 100'000; ++i) {
        many.emplace_back("x" + std::to_string(i), "");
    }
    EXPECT_EQ(verdict(many), ErrorCode::kLimitExceeded);
    EXPECT_EQ(verdict(smallest_and({{"subject", std::string(kEventAttributeBytesMax + 1, 'x')}})),
              ErrorCode::kLimitExceeded);
    EXPECT_EQ(
        from_attributes(smallest_and({{"subject", "7"}}), std::string(kEventDataBytesMax + 1, 'x'))
            .error()
            .code,
        ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace instep
