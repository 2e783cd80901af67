#include "instep/base/bytes.hpp"
#include "instep/event/cloudevents.hpp"
#include "tests/support/random_event.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace instep {
namespace {

using namespace std::string_view_literals;
using testing::HasSubstr;

constexpr std::string_view kSmallest =
    R"("specversion":"1.0","id":"1","source":"iam","type":"user.created","subject":"7")";

std::string event_with(std::string_view members) {
    return "{" + std::string(kSmallest) + "," + std::string(members) + "}";
}

ErrorCode verdict(std::string_view text) {
    const auto event = from_json(text);
    EXPECT_FALSE(event) << text.substr(0, 200);
    return event ? ErrorCode::kUnsupported : event.error().code;
}

TEST(EventJson, ReadsBackWhateverItWrote) {
    SeededRandom random(1);
    for (int i = 0; i < 3000; ++i) {
        const Event event = test::random_event(random);
        EXPECT_EQ(from_json(to_json(event)).value(), event) << to_json(event);
    }
}

TEST(EventJson, WritesWhatAnotherParserReads) {
    SeededRandom random(2);
    for (int i = 0; i < 1000; ++i) {
        Event event = test::random_event(random);
        if (event.data.find("1e400") != std::string::npos) {
            continue;  // valid, but beyond the other parser's doubles
        }
        const auto json = nlohmann::json::parse(to_json(event));
        EXPECT_EQ(json.at("id").get<std::string>(), event.id);
        EXPECT_EQ(json.at("partitionkey").get<std::string>(), event.key);
        EXPECT_FALSE(json.contains("injected"));
        if (json.contains("data_base64")) {
            EXPECT_EQ(from_base64(json.at("data_base64").get<std::string>()), event.data);
        }
    }
}

TEST(EventJson, KeepsTheBytesOfJsonData) {
    for (const std::string_view data :
         {R"({"b":1,"a":1.50})"sv, "{ \"a\" :\n[ 1 , 2 ] }"sv, "123456789012345678901234567890"sv,
          "-1e400"sv, "0"sv, "null"sv, "true"sv, R"("\u00e4\/")"sv, "[]"sv, "{}"sv,
          R"([{"a":{"a":1,"a":2}}])"sv}) {
        EXPECT_EQ(from_json(event_with("\"data\": " + std::string(data) + " "))->data, data);
    }
}

TEST(EventJson, EmbedsDataOnlyIfItIsJsonInFact) {
    Event event = from_json(event_with("\"data\":1")).value();
    EXPECT_THAT(to_json(event), HasSubstr("\"data\":1"));
    for (const std::string_view data : {"1,\"type\":\"evil\""sv,
                                        "}"sv,
                                        "{\"a\":1}}"sv,
                                        "]"sv,
                                        "1],[2"sv,
                                        "01"sv,
                                        "1."sv,
                                        ".5"sv,
                                        "+1"sv,
                                        "1e"sv,
                                        "-"sv,
                                        "nul"sv,
                                        "True"sv,
                                        "\"\xFF\""sv,
                                        "\"a\nb\""sv,
                                        "1\0"sv,
                                        "[1,]"sv,
                                        "{\"a\" 1}"sv,
                                        "{1:2}"sv,
                                        "\"\\x\""sv,
                                        "1 "sv}) {
        event.data = data;
        EXPECT_THAT(to_json(event), HasSubstr("\"data_base64\":")) << data;
        EXPECT_EQ(from_json(to_json(event)).value(), event) << data;
    }
}

TEST(EventJson, ReadsTextDataAsItsCharacters) {
    const std::string text = event_with(R"("data":"a\nb","datacontenttype":"text/plain")");
    EXPECT_EQ(from_json(text)->data, "a\nb");
    EXPECT_EQ(from_json(event_with(R"("data":"a\nb")"))->data, R"("a\nb")");
}

TEST(EventJson, ReadsBinaryData) {
    EXPECT_EQ(from_json(event_with(R"("data_base64":"AP8=")"))->data, "\0\xFF"sv);
}

TEST(EventJson, TakesIntegersAndBooleansAsTextAndNullAsAbsent) {
    const Event event =
        from_json(event_with(R"("num":-42,"yes":true,"none":null,"streamversion":3,"time":null)"))
            .value();
    EXPECT_EQ(event.extensions, (std::vector<Attribute>{{"num", "-42"}, {"yes", "true"}}));
    EXPECT_EQ(event.stream_version, 3U);
}

TEST(EventJson, RefusesAttributesOfOtherTypes) {
    for (const std::string_view member :
         {R"("time":{})"sv, R"("time":[])"sv, R"("time":1.5)"sv, R"("x":1e3)"sv, R"("time":12)"sv,
          R"("data_base64":1)"sv, R"("data_base64":"%")"sv}) {
        EXPECT_EQ(verdict(event_with(member)), ErrorCode::kInvalidArgument) << member;
    }
}

TEST(EventJson, RefusesWhatComesTwice) {
    for (const std::string_view member :
         {R"("id":"1")"sv, R"("x":"1","x":"2")"sv, R"("data":1,"data":1)"sv,
          R"("data":1,"data_base64":"AA==")"sv, R"("data_base64":"","data":1)"sv,
          R"("\u0069d":"2")"sv}) {
        EXPECT_EQ(verdict(event_with(member)), ErrorCode::kInvalidArgument) << member;
    }
}

TEST(EventJson, RefusesWhatIsNotExactlyOneObject) {
    const std::string event = event_with("\"data\":1");
    for (const std::string& text :
         {std::string(), std::string(" "), std::string("1"), std::string("\"x\""),
          std::string("[]"), event + event, event + ",", "[" + event + "]", event + "]",
          event + "}", event.substr(1), event.substr(0, event.size() - 1), event + '\0',
          '\xEF' + event, "{" + event + "}", std::string("{}"), std::string("\0", 1)}) {
        EXPECT_EQ(verdict(text), ErrorCode::kInvalidArgument) << text;
    }
}

TEST(EventJson, RefusesHostileText) {
    EXPECT_EQ(verdict(event_with("\"x\":\"a\0b\""sv)), ErrorCode::kInvalidArgument);
    EXPECT_EQ(verdict(event_with("\"x\":\"a\\u0000b\"")), ErrorCode::kInvalidArgument);
    EXPECT_EQ(verdict(event_with("\"x\":\"\xC0\xAF\"")), ErrorCode::kInvalidArgument);
    EXPECT_EQ(verdict(event_with("\"x\":\"\\ud800\"")), ErrorCode::kInvalidArgument);
    EXPECT_EQ(verdict(event_with("\"x\\n\":\"1\"")), ErrorCode::kInvalidArgument);
    EXPECT_EQ(verdict(event_with("\"\":\"1\"")), ErrorCode::kInvalidArgument);
}

TEST(EventJson, RefusesDeepNestingWithoutUsingTheStack) {
    const auto nested = [](std::size_t depth) {
        return event_with("\"data\":" + std::string(depth, '[') + std::string(depth, ']'));
    };
    EXPECT_TRUE(from_json(nested(kEventJsonDepthMax)));
    EXPECT_EQ(verdict(nested(kEventJsonDepthMax + 1)), ErrorCode::kLimitExceeded);
    EXPECT_EQ(verdict(nested(1'000'000)), ErrorCode::kLimitExceeded);
    EXPECT_FALSE(from_json(std::string(1'000'000, '[')));
    EXPECT_FALSE(from_json(event_with("\"data\":" + std::string(1'000'000, '{'))));
}

TEST(EventJson, StopsAtItsLimits) {
    std::string members = "\"x\":1";
    for (int i = 0; i < 100'000; ++i) {
        members += ",\"x" + std::to_string(i) + "\":1";
    }
    EXPECT_EQ(verdict(event_with(members)), ErrorCode::kLimitExceeded);
    EXPECT_EQ(verdict(std::string(kEventJsonBytesMax + 1, ' ')), ErrorCode::kLimitExceeded);
    const std::string digits(kEventDataBytesMax + 1, '1');
    EXPECT_EQ(verdict(event_with("\"data\":" + digits)), ErrorCode::kLimitExceeded);
}

TEST(EventJson, RoundTripsTheLargestEvent) {
    Event event = from_json(event_with("\"data\":1")).value();
    event.data.assign(kEventDataBytesMax, '\xFF');
    EXPECT_EQ(from_json(to_json(event)).value(), event);
}

TEST(EventJson, NamesTheMemberAndThePlace) {
    EXPECT_THAT(from_json(event_with("\"time\":{}")).error().message, HasSubstr("\"time\""));
    EXPECT_THAT(from_json(event_with("\"x\":nope")).error().message, HasSubstr("byte"));
}

TEST(EventJson, ReadsNothingUnsoundFromDamagedText) {
    SeededRandom random(3);
    int accepted = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::string text = to_json(test::random_event(random));
        for (std::size_t left = 1 + random.below(3); left > 0; --left) {
            const std::size_t place = random.below(text.size());
            switch (random.below(4)) {
                case 0:
                    text[place] = static_cast<char>(random.below(256));
                    break;
                case 1:
                    text.erase(place, 1 + random.below(8));
                    break;
                case 2:
                    text.insert(place, 1, "\"\\{}[],: \t0"[random.below(12)]);
                    break;
                default:
                    text.insert(place, text.substr(random.below(text.size()), random.below(16)));
            }
            if (text.empty()) {
                break;
            }
        }
        const auto event = from_json(text);
        if (!event) {
            continue;
        }
        ++accepted;
        EXPECT_TRUE(validate(*event)) << text;
        EXPECT_EQ(from_json(to_json(*event)).value(), *event) << text;
    }
    EXPECT_GT(accepted, 100);
}

TEST(EventJsonBatch, ReadsBackWhateverItWrote) {
    SeededRandom random(4);
    std::vector<Event> events;
    EXPECT_EQ(to_json_batch(events), "[]");
    for (int size = 0; size < 20; ++size) {
        EXPECT_EQ(from_json_batch(to_json_batch(events)).value(), events);
        events.push_back(test::random_event(random));
    }
}

TEST(EventJsonBatch, IsAllOrNothingAndNamesTheEvent) {
    const std::string good = event_with("\"data\":1");
    const auto events = from_json_batch("[" + good + "," + event_with("\"time\":1") + "]");
    EXPECT_EQ(events.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(events.error().message, HasSubstr("event 2"));
    EXPECT_FALSE(from_json_batch("[" + good + ",]"));
    EXPECT_FALSE(from_json_batch("[" + good + "," + good));
    EXPECT_FALSE(from_json_batch(good));
}

TEST(EventJsonBatch, StopsAtItsLimit) {
    std::string text = "[";
    for (std::size_t i = 0; i <= kEventJsonBatchMax; ++i) {
        text += (i == 0 ? "" : ",") + event_with("\"data\":1");
    }
    EXPECT_EQ(from_json_batch(text + "]").error().code, ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace instep
