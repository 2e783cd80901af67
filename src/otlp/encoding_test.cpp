#include "encoding.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace instep {
namespace {

using nlohmann::json;

Span span_of(std::string service) {
    Span span;
    span.service = std::move(service);
    span.name = "process shop.order";
    span.context = {.trace_high = 0x0102030405060708, .trace_low = 0xff, .span = 0x10};
    span.parent = 0x0f;
    span.start = Timestamp{std::chrono::microseconds{1'700'000'000'000'001}};
    span.end = span.start + std::chrono::microseconds{9};
    span.attributes = {{"messaging.system", "instep"},
                       {"messaging.batch.message_count", std::int64_t{3}}};
    span.links = {{.trace_high = 1, .trace_low = 2, .span = 3}};
    return span;
}

TEST(OtlpEncoding, WritesWhatTheProtocolAsksFor) {
    const std::vector<Span> spans = {span_of("shop")};
    EXPECT_EQ(json::parse(to_otlp_json(spans, "host/1")), json::parse(R"({"resourceSpans": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": "shop"}},
            {"key": "service.instance.id", "value": {"stringValue": "host/1"}}]},
        "scopeSpans": [{"scope": {"name": "instep"}, "spans": [{
            "traceId": "010203040506070800000000000000ff",
            "spanId": "0000000000000010",
            "parentSpanId": "000000000000000f",
            "name": "process shop.order",
            "kind": 5,
            "startTimeUnixNano": "1700000000000001000",
            "endTimeUnixNano": "1700000000000010000",
            "attributes": [
                {"key": "messaging.system", "value": {"stringValue": "instep"}},
                {"key": "messaging.batch.message_count", "value": {"intValue": "3"}}],
            "links": [{"traceId": "00000000000000010000000000000002",
                       "spanId": "0000000000000003"}]
        }]}]
    }]})"));
}

TEST(OtlpEncoding, EachServiceIsAResource) {
    const std::vector<Span> spans = {span_of("shop"), span_of("mail"), span_of("shop")};
    const json body = json::parse(to_otlp_json(spans, ""));
    ASSERT_EQ(body["resourceSpans"].size(), 2U);
    EXPECT_EQ(body["resourceSpans"][0]["scopeSpans"][0]["spans"].size(), 1U);
    EXPECT_EQ(body["resourceSpans"][1]["scopeSpans"][0]["spans"].size(), 2U);
}

TEST(OtlpEncoding, NumbersTheKindsAsTheProtocolDoes) {
    const auto kind_of = [](SpanKind kind) {
        Span span = span_of("shop");
        span.kind = kind;
        const json body = json::parse(to_otlp_json(std::vector<Span>{span}, ""));
        return body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["kind"].get<int>();
    };
    EXPECT_EQ(kind_of(SpanKind::kServer), 2);
    EXPECT_EQ(kind_of(SpanKind::kProducer), 4);
    EXPECT_EQ(kind_of(SpanKind::kConsumer), 5);
}

TEST(OtlpEncoding, AFirstSpanHasNoParentAndAFailureIsAStatus) {
    Span span = span_of("shop");
    span.parent = 0;
    span.error = "say \"no\"\n";
    const json body = json::parse(to_otlp_json(std::vector<Span>{span}, ""));
    const json& written = body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    EXPECT_FALSE(written.contains("parentSpanId"));
    EXPECT_EQ(written["status"], json::parse(R"({"code": 2, "message": "say \"no\"\n"})"));
}

}  // namespace
}  // namespace instep
