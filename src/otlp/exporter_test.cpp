#include "instep/otlp/exporter.hpp"

#include "instep/http/listener.hpp"
#include "instep/telemetry/logger.hpp"
#include "instep/telemetry/metrics.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/log_lines.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <mutex>
#include <set>

namespace instep {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using test::eventually;

/// A collector that answers with what it is told, and keeps what it took.
class Collector {
public:
    explicit Collector(const Logger& logger)
        : listener_(
              HttpListener::open({},
                                 {{"POST", "/v1/traces",
                                   [this](const HttpRequest& request) { return take(request); }}},
                                 logger)
                  .value()) {}

    [[nodiscard]] std::string url() const { return "http://" + listener_->address(); }

    std::atomic<unsigned> status = 200;
    std::atomic<int> requests = 0;

    std::size_t taken() {
        const std::scoped_lock lock(mutex_);
        return names_.size();
    }

private:
    HttpResponse take(const HttpRequest& request) {
        ++requests;
        EXPECT_EQ(request.header("content-type"), "application/json");
        if (status == 200) {
            const std::scoped_lock lock(mutex_);
            const json body = json::parse(request.body);
            for (const json& resource : body["resourceSpans"]) {
                for (const json& span : resource["scopeSpans"][0]["spans"]) {
                    names_.insert(span["name"]);
                }
            }
        }
        return {.status = status, .body = "{}", .content_type = "application/json"};
    }

    std::mutex mutex_;
    std::set<std::string> names_;
    std::unique_ptr<HttpListener> listener_;
};

class OtlpExporterTest : public testing::Test {
protected:
    std::unique_ptr<OtlpExporter> exporter(OtlpExporterOptions options) {
        options.url = options.url.empty() ? collector_.url() : options.url;
        auto created = OtlpExporter::create(std::move(options), clock_, random_, metrics_, logger_);
        EXPECT_TRUE(created) << created.error().message;
        return std::move(*created);
    }

    static void record(OtlpExporter& exporter, int count) {
        for (int i = 0; i < count; ++i) {
            Span span;
            span.name = fmt::format("span {}", i);
            exporter.record(std::move(span));
        }
    }

    std::uint64_t dropped() { return metrics_.counter("instep_spans_dropped_total", "").value(); }

    SystemClock clock_;
    SystemRandom random_;
    MetricsRegistry metrics_;
    test::LogLines lines_;
    Logger logger_{lines_, clock_};
    Collector collector_{logger_};
};

TEST_F(OtlpExporterTest, SendsAllOfThemInBatches) {
    const auto spans = exporter({.batch_max = 100});
    record(*spans, 950);
    const Counter& exported = metrics_.counter("instep_spans_exported_total", "");
    EXPECT_TRUE(eventually([&] { return exported.value() == 950; }));
    EXPECT_EQ(collector_.taken(), 950U);
    EXPECT_GE(collector_.requests, 10);
    EXPECT_EQ(dropped(), 0U);
}

TEST_F(OtlpExporterTest, KeepsThemWhileTheCollectorIsBusy) {
    collector_.status = 503;
    const auto spans = exporter({});
    record(*spans, 5);
    EXPECT_TRUE(eventually([&] { return collector_.requests >= 2; }));
    collector_.status = 200;
    EXPECT_TRUE(eventually([&] { return collector_.taken() == 5; }));
}

TEST_F(OtlpExporterTest, NeverWaitsAndCountsWhatFindsNoRoom) {
    const auto spans = exporter({.url = "http://127.0.0.1:9", .waiting_max = 10});
    record(*spans, 25);
    EXPECT_EQ(dropped(), 15U);
}

TEST_F(OtlpExporterTest, LosesWhatIsRefusedAndSaysSo) {
    collector_.status = 400;
    const auto spans = exporter({});
    // One, since the exporter may send while more are recorded, and say so for each request.
    record(*spans, 1);
    EXPECT_TRUE(eventually([&] { return dropped() == 1; }));
    EXPECT_EQ(lines_.count("otlp.spans_refused"), 1U);
}

TEST_F(OtlpExporterTest, SendsWhatWaitsWhenItGoes) {
    auto spans = exporter({});
    record(*spans, 5);
    spans.reset();
    EXPECT_EQ(collector_.taken(), 5U);
}

TEST_F(OtlpExporterTest, CountsAsLostWhatItCannotSendWhenItGoes) {
    auto spans = exporter({.url = "http://127.0.0.1:9"});
    record(*spans, 5);
    spans.reset();
    EXPECT_EQ(dropped(), 5U);
}

TEST_F(OtlpExporterTest, RefusesOptionsOutOfBounds) {
    for (const OtlpExporterOptions& wrong :
         {OtlpExporterOptions{.url = "127.0.0.1:4318"},
          OtlpExporterOptions{.url = "http://x", .waiting_max = 0},
          OtlpExporterOptions{.url = "http://x", .batch_max = 0}}) {
        const auto created = OtlpExporter::create(wrong, clock_, random_, metrics_, logger_);
        EXPECT_EQ(created.error().code, ErrorCode::kInvalidArgument);
    }
}

}  // namespace
}  // namespace instep
