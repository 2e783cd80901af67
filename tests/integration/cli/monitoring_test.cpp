// What a scraper and an orchestrator see of `instep run`.
#include "instep/http/client.hpp"
#include "instep/http/listener.hpp"
#include "instep/telemetry/logger.hpp"
#include "tests/integration/cli/cli_fixture.hpp"
#include "tests/support/log_lines.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <fstream>
#include <optional>

namespace instep::test {
namespace {

using testing::HasSubstr;

class MonitoringTest : public CliTest {
protected:
    /// The services, applied and running, and a client for where they listen.
    void given_running_services() {
        given_applied_services();
        daemon_.emplace(INSTEP_PROGRAM,
                        options({"run", "iam.toml", "data_owner.toml", "--log-format", "json",
                                 "--listen", "127.0.0.1:0"}));
        ASSERT_TRUE(daemon_->prints("ready"));
        connect(*daemon_);
    }

    void connect(Process& daemon) {
        ASSERT_TRUE(daemon.complains("monitor.listens"));
        ASSERT_TRUE(eventually([&] {
            const std::string log = daemon.complaints();
            const std::string mark = R"("address":")";
            const std::size_t begin = log.find(mark) + mark.size();
            const std::size_t end = log.find('"', begin);
            if (end == std::string::npos) {
                return false;
            }
            client_.emplace(HttpClient::create("http://" + log.substr(begin, end - begin),
                                               {.timeout = kPatience})
                                .value());
            return true;
        }));
    }

    void given_listening(const std::string& name, const std::string& address) {
        std::ifstream file(folder_.file(name));
        std::string text{std::istreambuf_iterator<char>(file), {}};
        text.insert(text.find("[service]\n") + 10, "listen = \"" + address + "\"\n");
        given_file(name, text);
    }

    HttpResponse get(const std::string& path, HttpHeaders headers = {}) {
        auto answer = client_->send({.path = path, .headers = std::move(headers)});
        return answer.value_or(HttpResponse{.status = 0});
    }

    bool is(const std::string& path, unsigned status) {
        return eventually([&] { return get(path).status == status; });
    }

    std::optional<Process> daemon_;
    std::optional<HttpClient> client_;
};

TEST_F(MonitoringTest, RunShowsWhatItHasDone) {
    given_running_services();
    EXPECT_TRUE(is("/readyz", 200));
    EXPECT_TRUE(is("/livez", 200));
    sql("iam.db", "UPDATE users SET username = 'ada2' WHERE id = 1");
    ASSERT_EQ(run({"wait", "iam.toml", "data_owner.toml", "--caught-up"}).exit, 0);
    EXPECT_TRUE(eventually([&] {
        const std::string text = get("/metrics").body;
        return text.contains(R"(instep_published_total{service="iam",topic="iam.user"} )") &&
               text.contains(R"(instep_flow_state{flow="upkeep",service="data-owner",)");
    }));
    ASSERT_TRUE(is("/healthz", 200));
    const nlohmann::json health = nlohmann::json::parse(get("/healthz").body);
    EXPECT_EQ(health["schema"], "instep.health/1");
    EXPECT_EQ(health["healthy"], true);
    ASSERT_EQ(health["services"].size(), 2U);
    EXPECT_EQ(health["services"][0]["service"], "iam");
}

TEST_F(MonitoringTest, AFlowThatFailsMakesItUnhealthyAndNoReasonToStartItAnew) {
    given_running_services();
    ASSERT_TRUE(is("/healthz", 200));
    sql("iam.db", "ALTER TABLE instep_log RENAME TO hidden");
    EXPECT_TRUE(is("/healthz", 503));
    EXPECT_TRUE(is("/readyz", 503));
    EXPECT_EQ(get("/livez").status, 200U);
    EXPECT_THAT(get("/healthz").body, HasSubstr("instep_log"));
    sql("iam.db", "ALTER TABLE hidden RENAME TO instep_log");
    EXPECT_TRUE(is("/healthz", 200));
}

TEST_F(MonitoringTest, AServerThatIsNotThereYetIsSeenFromOutside) {
    given_file("away.toml",
               "[service]\nname = \"away\"\ndatabase = \"postgresql://127.0.0.1:9/none\"\n");
    daemon_.emplace(INSTEP_PROGRAM, options({"run", "away.toml", "--log-format", "json", "--listen",
                                             "127.0.0.1:0"}));
    connect(*daemon_);
    EXPECT_TRUE(is("/healthz", 503));
    EXPECT_EQ(get("/livez").status, 200U);
    EXPECT_EQ(get("/readyz").status, 503U);
    EXPECT_THAT(get("/healthz").body, HasSubstr(R"("service":"away")"));
}

TEST_F(MonitoringTest, ThePlaceMayStandInTheFile) {
    given_applied_services();
    given_listening("iam.toml", "127.0.0.1:0");
    daemon_.emplace(INSTEP_PROGRAM, options({"run", "iam.toml", "--log-format", "json"}));
    ASSERT_TRUE(daemon_->prints("ready"));
    connect(*daemon_);
    EXPECT_TRUE(is("/livez", 200));
}

TEST_F(MonitoringTest, CommandsThatRunServicesForAWhileListenNowhere) {
    given_filled_replica();
    LogLines lines;
    const Logger logger(lines, clock_);
    const auto taken = HttpListener::open({}, {}, logger).value();
    given_listening("data_owner.toml", taken->address());
    const Finished verified = run({"verify", "iam.toml", "data_owner.toml"});
    EXPECT_EQ(verified.exit, 0) << verified.err;
}

TEST_F(MonitoringTest, NothingListensUnlessAskedTo) {
    given_applied_services();
    Process daemon(INSTEP_PROGRAM, options({"run", "iam.toml"}));
    ASSERT_TRUE(daemon.prints("ready"));
    daemon.signal(SIGTERM);
    EXPECT_THAT(daemon.wait().err, testing::Not(HasSubstr("monitor.listens")));
}

TEST_F(MonitoringTest, SaysThatThePlaceIsTaken) {
    given_running_services();
    const std::string address = client_->display_url().substr(7);
    const Finished second = run({"run", "iam.toml", "--listen", address});
    EXPECT_EQ(second.exit, 6) << second.err;
    EXPECT_THAT(second.err, HasSubstr("cannot listen on " + address));
    EXPECT_EQ(run({"run", "iam.toml", "--listen", "9464"}).exit, 2);
}

#ifdef INSTEP_PROMTOOL
TEST_F(MonitoringTest, PrometheusFindsNoFaultWithTheMetrics) {
    given_running_services();
    ASSERT_EQ(run({"wait", "iam.toml", "data_owner.toml", "--caught-up"}).exit, 0);
    given_file("metrics.txt", get("/metrics").body);
    const Finished checked =
        run_process("/bin/sh", {.arguments = {"-c", INSTEP_PROMTOOL " check metrics < metrics.txt"},
                                .directory = folder_.path()});
    EXPECT_EQ(checked.exit, 0) << checked.out << checked.err;
    EXPECT_EQ(checked.err, "");
}
#endif

}  // namespace
}  // namespace instep::test
