#include "instep/service/monitor.hpp"

#include "instep/http/client.hpp"
#include "instep/telemetry/logger.hpp"
#include "tests/support/log_lines.hpp"
#include "tests/support/manual_clock.hpp"
#include "watches.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace instep {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

class MonitorTest : public testing::Test {
protected:
    /// A service "iam" with one flow, which is in this state.
    void given(const std::string& state, std::string error = {},
               std::chrono::microseconds step_age = 0us) {
        watch_.reset();
        const FlowStatus flow{"relay", state, std::move(error), 7, 0, step_age};
        watch_.emplace(
            monitor_.watches(),
            WatchedService{"iam", [flow] { return std::vector{flow}; }, [this] { ++measured_; }});
    }

    HttpResponse get(const std::string& path, HttpHeaders headers = {}) {
        const auto routes = monitor_.routes();
        const auto route = std::ranges::find(routes, path, &HttpRoute::path);
        EXPECT_NE(route, routes.end()) << path;
        return route->answer({.path = path, .headers = std::move(headers)});
    }

    unsigned live() { return get("/livez").status; }
    unsigned ready() { return get("/readyz").status; }
    unsigned healthy() { return get("/healthz").status; }

    test::ManualClock clock_;
    SystemRandom random_;
    test::LogLines lines_;
    Logger logger_{lines_, clock_};
    Monitor monitor_{clock_, random_, logger_, "host/1"};
    std::optional<Watches::Watch> watch_;
    int measured_ = 0;
};

TEST_F(MonitorTest, AFlowThatWorksIdlesOrStandsByIsHealthy) {
    for (const char* const state : {"running", "idle", "standby"}) {
        given(state);
        EXPECT_EQ(live(), 200U) << state;
        EXPECT_EQ(ready(), 200U) << state;
        EXPECT_EQ(healthy(), 200U) << state;
    }
}

TEST_F(MonitorTest, AFlowThatFailsIsNoReasonToStartAnew) {
    given("failing", "12 events wait, and none has moved for 60 s");
    EXPECT_EQ(live(), 200U);
    EXPECT_EQ(ready(), 503U);
    EXPECT_EQ(healthy(), 503U);
    EXPECT_THAT(get("/healthz").body, HasSubstr("none has moved for 60 s"));
}

TEST_F(MonitorTest, AStepThatDoesNotEndIs) {
    given("running", "", kStuckAfter);
    EXPECT_EQ(live(), 200U);
    given("running", "", kStuckAfter + 1us);
    EXPECT_EQ(live(), 503U);
    EXPECT_EQ(ready(), 503U);
    EXPECT_EQ(healthy(), 503U);
    EXPECT_THAT(get("/livez").body, HasSubstr(R"("state":"stuck")"));
}

TEST_F(MonitorTest, BeforeTheFirstStepAndAfterTheLastItIsNotReady) {
    for (const char* const state : {"starting", "stopped"}) {
        given(state);
        EXPECT_EQ(live(), 200U) << state;
        EXPECT_EQ(ready(), 503U) << state;
        EXPECT_EQ(healthy(), 200U) << state;
    }
}

TEST_F(MonitorTest, TellsOfEachFlowInJson) {
    given("failing", "say \"no\"\n", 1500ms);
    const HttpResponse answer = get("/healthz");
    EXPECT_EQ(answer.content_type, "application/json");
    EXPECT_EQ(answer.body,
              R"({"schema":"instep.health/1","live":true,"ready":false,"healthy":false,)"
              R"("services":[{"service":"iam","flows":[{"name":"relay","state":"failing",)"
              R"("error":"say \"no\"\n","events":"7","step_seconds":1.500}]}]})"
              "\n");
}

TEST_F(MonitorTest, TheStateOfAFlowIsAMetricThatChangesWithIt) {
    given("idle");
    EXPECT_THAT(get("/metrics").body,
                HasSubstr(R"(instep_flow_state{flow="relay",service="iam",state="idle"} 1)"));
    given("failing", "no");
    const std::string after = get("/metrics").body;
    EXPECT_THAT(after, HasSubstr(R"(state="idle"} 0)"));
    EXPECT_THAT(after, HasSubstr(R"(state="failing"} 1)"));
    EXPECT_EQ(measured_, 2);
}

TEST_F(MonitorTest, WritesMetricsInTheFormatThatIsAskedFor) {
    monitor_.metrics().counter("instep_test_total", "Test").increment();
    EXPECT_THAT(get("/metrics").content_type, HasSubstr("version=0.0.4"));
    EXPECT_THAT(get("/metrics").body, Not(HasSubstr("# EOF")));
    const HttpResponse open =
        get("/metrics", {{"Accept", "application/openmetrics-text; version=1.0.0"}});
    EXPECT_THAT(open.content_type, HasSubstr("openmetrics"));
    EXPECT_THAT(open.body, testing::EndsWith("# EOF\n"));
}

TEST_F(MonitorTest, AServiceThatIsGoneIsShownNoMore) {
    given("failing", "no");
    watch_.reset();
    EXPECT_EQ(healthy(), 200U);
    EXPECT_THAT(get("/healthz").body, HasSubstr(R"("services":[])"));
}

TEST_F(MonitorTest, AServiceThatCannotBeOpenedYetIsNotReady) {
    monitor_.expect("iam", "");
    EXPECT_EQ(ready(), 503U);
    EXPECT_EQ(healthy(), 200U);
    monitor_.expect("iam", "the database is away");
    EXPECT_EQ(live(), 200U);
    EXPECT_EQ(healthy(), 503U);
    EXPECT_THAT(get("/healthz").body, HasSubstr("the database is away"));
    given("idle");
    EXPECT_EQ(ready(), 200U);
}

TEST_F(MonitorTest, ServicesOfOneProcessShareAnAddressAndACollector) {
    ASSERT_TRUE(monitor_.listen("127.0.0.1:0"));
    ASSERT_TRUE(monitor_.listen("127.0.0.1:0"));
    EXPECT_EQ(lines_.count("monitor.listens"), 1U);
    EXPECT_FALSE(monitor_.listen("nowhere"));
    const auto sink = monitor_.spans_to("http://127.0.0.1:9");
    ASSERT_TRUE(sink);
    EXPECT_EQ(*monitor_.spans_to("http://127.0.0.1:9"), *sink);
    EXPECT_FALSE(monitor_.spans_to("nowhere"));
}

}  // namespace
}  // namespace instep
