// docs/reference/metrics.md says what a running process says.
#include "instep/service/monitor.hpp"
#include "instep/service/service.hpp"
#include "instep/telemetry/logger.hpp"
#include "tests/support/log_lines.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

namespace instep {
namespace {

using namespace std::chrono_literals;
const std::string kPage = INSTEP_DOCS_DIR "/reference/metrics.md";

/// An owner "iam" of users, and "billing", which keeps them and handles them, in one process.
class MetricsPageTest : public testing::Test {
protected:
    MetricsPageTest() {
        configs_ = {parse("iam",
                          "[[publish]]\ntable = 'users'\nentity = 'user'\ncolumns = ['id', "
                          "'name']\n"),
                    parse("billing",
                          "[[replica]]\ntopic = 'iam.user'\ntable = 'lookup_users'\n"
                          "[[subscription]]\nname = 'welcome'\ntopic = 'iam.user'\n")};
        sql("iam", "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)");
        brokers_.know(configs_);
    }

    ServiceConfig parse(const std::string& name, const std::string& rest) const {
        const std::string text = fmt::format(
            "[service]\nname = '{0}'\ndatabase = 'sqlite:{0}.db'\nbroker = 'embedded:broker.db'\n"
            "otlp = 'http://127.0.0.1:9'\n{1}",
            name, rest);
        return parse_service_file(text, dir_.file(name + ".toml"), process_environment()).value();
    }

    void sql(const std::string& service, std::string_view statements) {
        const auto database =
            open_database("sqlite:" + dir_.file(service + ".db"), clock_, MissingDatabase::kCreate);
        const auto done = database.value()->connect().value()->execute_script(statements);
        ASSERT_TRUE(done) << done.error().message;
    }

    void start() {
        for (const ServiceConfig& config : configs_) {
            ASSERT_TRUE(apply_service(config, clock_, {}));
            Handlers handlers;
            if (config.name == "billing") {
                handlers["welcome"].on("user.created", [this](HandlerContext& context) {
                    if (is_down_) {
                        clock_.advance(11s);
                        return Verdict::unavailable("no mail server");
                    }
                    return context.event().key.contains('3') ? Verdict::retry("not him")
                                                             : Verdict::done();
                });
            }
            auto service = Service::create(
                config, {clock_, random_, logger_, brokers_, "p1", &monitor_}, handlers);
            ASSERT_TRUE(service) << service.error().message;
            services_.push_back(std::move(*service));
        }
    }

    void settle() {
        for (int round = 0; round < 40; ++round) {
            clock_.advance(500ms);
            for (const auto& service : services_) {
                const auto done = service->run_once();
                ASSERT_TRUE(done) << done.error().message;
            }
        }
    }

    /// What a scrape gets.
    std::string scrape() {
        for (const HttpRoute& route : monitor_.routes()) {
            if (route.path == "/metrics") {
                return route.answer({}).body;
            }
        }
        return {};
    }

    /// The handler's target is down, and takes long to say so.
    bool is_down_ = false;
    test::TempDir dir_;
    test::ManualClock clock_;
    SeededRandom random_{1};
    test::LogLines lines_;
    Logger logger_{lines_, clock_};
    Monitor monitor_{clock_, random_, logger_, "p1"};
    Brokers brokers_{clock_};
    std::vector<ServiceConfig> configs_;
    std::vector<std::unique_ptr<Service>> services_;
};

/// `name{a="1",b="2"} value`: "`a`, `b`", without the bucket's own.
std::string labels_of(const std::string& line) {
    std::vector<std::string> names;
    const std::size_t end = std::min(line.find('}'), line.size());
    for (std::size_t at = line.find('{'); at < end; at = line.find("\",", at)) {
        at += line[at] == '{' ? 1 : 2;
        const std::string name = line.substr(at, line.find('=', at) - at);
        if (name != "le") {
            names.push_back(fmt::format("`{}`", name));
        }
    }
    return fmt::format("{}", fmt::join(names, ", "));
}

/// A table row for each metric of the text.
std::string rows_of(const std::string& exposition) {
    std::string rows = "| metric | kind | labels | what it is |\n|---|---|---|---|\n";
    std::istringstream lines(exposition);
    std::string help;
    std::string kind;
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("# HELP ")) {
            help = line.substr(7);
        } else if (line.starts_with("# TYPE ")) {
            kind = line.substr(line.rfind(' ') + 1);
        } else if (!help.empty()) {
            const std::size_t space = help.find(' ');
            rows += fmt::format("| `{}` | {} | {} | {} |\n", help.substr(0, space), kind,
                                labels_of(line), help.substr(space + 1));
            help.clear();
        }
    }
    return rows;
}

TEST_F(MetricsPageTest, ListsEveryMetricOfARunningProcess) {
    start();
    sql("iam", "INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace'), (3, 'Edsger')");
    settle();
    std::ifstream file(kPage);
    const std::string page{std::istreambuf_iterator<char>(file), {}};
    const std::string begin = "<!-- metrics -->\n";
    const std::size_t first = page.find(begin) + begin.size();
    const std::size_t last = page.find("<!-- end -->", first);
    ASSERT_NE(last, std::string::npos);
    std::string wanted = page;
    wanted.replace(first, last - first, rows_of(scrape()));
    if (std::getenv("INSTEP_UPDATE_GOLDEN") != nullptr) {
        std::ofstream(kPage) << wanted;
        return;
    }
    EXPECT_EQ(page, wanted) << "run this test with INSTEP_UPDATE_GOLDEN=1 to rewrite the page";
}

TEST_F(MetricsPageTest, EveryMetricHasAUnitOrIsACount) {
    start();
    sql("iam", "INSERT INTO users VALUES (1, 'Ada')");
    settle();
    for (const MetricSample& sample : monitor_.metrics().snapshot()) {
        EXPECT_EQ(sample.kind == "counter", sample.name.ends_with("_total")) << sample.name;
        if (sample.kind == "histogram") {
            EXPECT_TRUE(sample.name.ends_with("_seconds")) << sample.name;
        }
    }
}

TEST_F(MetricsPageTest, SaysWhatBecameOfTheEvents) {
    start();
    settle();
    sql("iam", "INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace'), (3, 'Edsger')");
    settle();
    const std::string text = scrape();
    // One of the four is the replica's first chunk.
    for (const std::string_view line : {
             R"(instep_published_total{service="iam",topic="iam.user"} 3)",
             R"(instep_processed_total{service="billing",status="applied",)"
             R"(subscription="billing.lookup_users"} 4)",
             R"(instep_processed_total{service="billing",status="applied",)"
             R"(subscription="billing.welcome"} 2)",
             R"(instep_process_delay_seconds_count{service="billing",)"
             R"(subscription="billing.lookup_users"} 3)",
             R"(instep_parked_keys{service="billing",subscription="billing.welcome"} 1)",
             R"(instep_lag_events{service="billing",subscription="billing.welcome"} 0)",
             R"(instep_relay_lag_events{service="iam"} 0)",
         }) {
        EXPECT_TRUE(text.contains(line)) << line;
    }
}

TEST_F(MetricsPageTest, SaysWhyASubscriptionStands) {
    start();
    settle();
    EXPECT_TRUE(scrape().contains(R"(instep_circuit_state{service="billing",state="closed",)"
                                  R"(subscription="billing.welcome"} 1)"));
    is_down_ = true;
    sql("iam", "INSERT INTO users VALUES (1, 'Ada')");
    for (int round = 0; round < 40; ++round) {
        clock_.advance(500ms);
        for (const auto& service : services_) {
            // Fails while the target is down, until the circuit opens.
            std::ignore = service->run_once();
        }
    }
    const std::string text = scrape();
    for (const std::string_view line : {
             R"(instep_circuit_state{service="billing",state="closed",)"
             R"(subscription="billing.welcome"} 0)",
             R"(instep_subscription_halted{kind="circuit_open",service="billing",)"
             R"(subscription="billing.welcome"} 1)",
             R"(instep_subscription_halted{kind="circuit_open",service="billing",)"
             R"(subscription="billing.lookup_users"} 0)",
             R"(instep_slow_events_total{service="billing",subscription="billing.welcome"} 5)",
             R"(instep_parked_bytes{service="billing",subscription="billing.welcome"} 0)",
         }) {
        EXPECT_TRUE(text.contains(line)) << line << "\n" << text;
    }
}

}  // namespace
}  // namespace instep
