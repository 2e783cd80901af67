// The OpenTelemetry collector itself, and what it makes of the spans that we send.
#include "instep/http/client.hpp"
#include "instep/otlp/exporter.hpp"
#include "instep/telemetry/logger.hpp"
#include "instep/telemetry/metrics.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/log_lines.hpp"
#include "tests/support/process.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <memory>
#include <optional>
#include <string>

namespace instep::test {
namespace {

using testing::HasSubstr;

class OtelCollectorTest : public testing::Test {
protected:
    OtelCollectorTest() {
        const std::string config = fmt::format(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{}'}}}}}}}}\n"
            "exporters: {{debug: {{verbosity: detailed, use_internal_logger: false}}}}\n"
            "service: {{telemetry: {{metrics: {{level: none}}}}, "
            "pipelines: {{traces: {{receivers: [otlp], exporters: [debug]}}}}}}\n",
            port_.number());
        ProcessOptions options;
        options.arguments = {"--config", "yaml:" + config};
        collector_.emplace(INSTEP_OTEL_COLLECTOR, options);
        EXPECT_TRUE(collector_->complains("Everything is ready")) << collector_->complaints();
    }

    [[nodiscard]] std::string url() const {
        return fmt::format("http://127.0.0.1:{}", port_.number());
    }

    std::unique_ptr<OtlpExporter> exporter() {
        return OtlpExporter::create({.url = url(), .process_id = "host/1"}, clock_, random_,
                                    metrics_, logger_)
            .value();
    }

    /// What the collector says of the span of this name, once it has it.
    std::string printed(const std::string& name) {
        const std::string line = fmt::format("    Name           : {}\n", name);
        EXPECT_TRUE(collector_->prints(line)) << collector_->complaints();
        const std::string all = collector_->output();
        const std::size_t at = all.find(line);
        const std::size_t begin = all.rfind("Span #", at);
        return all.substr(begin, all.find("\nSpan #", at) - begin);
    }

    std::uint64_t counted(MetricName name) { return metrics_.counter(name, "").value(); }

    SystemClock clock_;
    SystemRandom random_;
    MetricsRegistry metrics_;
    LogLines lines_;
    Logger logger_{lines_, clock_};
    const ReservedPort port_;
    std::optional<Process> collector_;
};

Span span_of(std::string name, SpanKind kind) {
    Span span;
    span.service = "shop";
    span.name = std::move(name);
    span.kind = kind;
    span.context = {.trace_high = 0x0102030405060708, .trace_low = 0xff, .span = 0x10};
    span.start = Timestamp{std::chrono::microseconds{1'700'000'000'000'001}};
    span.end = span.start + std::chrono::microseconds{9};
    return span;
}

TEST_F(OtelCollectorTest, ReadsEverythingOfASpan) {
    Span span = span_of("process shop.order", SpanKind::kConsumer);
    span.parent = 0x0f;
    span.attributes = {{"messaging.message.id", "größer \"als\" \\ 1\n"},
                       {"messaging.batch.message_count", std::int64_t{-9'007'199'254'740'993}}};
    span.links = {{.trace_high = 1, .trace_low = 2, .span = 3},
                  {.trace_high = ~0ULL, .trace_low = ~0ULL, .span = ~0ULL}};
    span.error = "the mail server says \"no\"";
    exporter()->record(span);

    const std::string text = printed(span.name);
    for (const char* expected : {
             "    Trace ID       : 010203040506070800000000000000ff\n",
             "    Parent ID      : 000000000000000f\n",
             "    ID             : 0000000000000010\n",
             "    Kind           : Consumer\n",
             "    Start time     : 2023-11-14 22:13:20.000001 +0000 UTC\n",
             "    End time       : 2023-11-14 22:13:20.00001 +0000 UTC\n",
             "    Status code    : Error\n",
             "    Status message : the mail server says \"no\"\n",
             "     -> messaging.message.id: Str(größer \"als\" \\ 1\n)\n",
             "     -> messaging.batch.message_count: Int(-9007199254740993)\n",
             "     -> Trace ID: 00000000000000010000000000000002\n     -> ID: 0000000000000003\n",
             "     -> Trace ID: ffffffffffffffffffffffffffffffff\n     -> ID: ffffffffffffffff\n",
         }) {
        EXPECT_THAT(text, HasSubstr(expected));
    }
    EXPECT_THAT(collector_->output(),
                testing::AllOf(HasSubstr("     -> service.name: Str(shop)\n"),
                               HasSubstr("     -> service.instance.id: Str(host/1)\n"),
                               HasSubstr("InstrumentationScope instep")));
}

TEST_F(OtelCollectorTest, ReadsKindsAndSpansWithoutParentOrFailure) {
    {
        const auto spans = exporter();
        spans->record(span_of("POST /orders", SpanKind::kServer));
        spans->record(span_of("send shop.order", SpanKind::kProducer));
    }
    EXPECT_THAT(printed("POST /orders"), testing::AllOf(HasSubstr("Kind           : Server\n"),
                                                        HasSubstr("Parent ID      : \n"),
                                                        HasSubstr("Status code    : Unset\n")));
    EXPECT_THAT(printed("send shop.order"), HasSubstr("Kind           : Producer\n"));
}

TEST_F(OtelCollectorTest, TakesAllOfManyBatches) {
    constexpr int kSpans = 1200;
    {
        const auto spans = exporter();
        for (int number = 0; number < kSpans; ++number) {
            spans->record(
                span_of(fmt::format("span {} of {}", number, kSpans), SpanKind::kConsumer));
        }
    }
    EXPECT_EQ(counted("instep_spans_exported_total"), static_cast<std::uint64_t>(kSpans));
    EXPECT_EQ(counted("instep_spans_dropped_total"), 0U);
    for (int number = 0; number < kSpans; ++number) {
        EXPECT_TRUE(collector_->prints(fmt::format("Name           : span {} of ", number)));
    }
}

/// Else it would say nothing that it takes the others.
TEST_F(OtelCollectorTest, RefusesWhatIsWrong) {
    auto client = HttpClient::create(url()).value();
    const auto status_of = [&](const std::string& span) {
        const auto answer = client.send(
            {.method = "POST",
             .path = "/v1/traces",
             .headers = {{"content-type", "application/json"}},
             .body = R"({"resourceSpans": [{"scopeSpans": [{"spans": [)" + span + "]}]}]}"});
        return answer ? answer->status : 0;
    };
    EXPECT_EQ(status_of(R"({"name": "whole", "spanId": "0000000000000010"})"), 200U);
    EXPECT_EQ(status_of(R"({"name": "short", "spanId": "0010"})"), 400U);
    EXPECT_EQ(status_of(R"({"name": 7})"), 400U);
}

}  // namespace
}  // namespace instep::test
