// The shop from outside: its programs as processes on PostgreSQL and Redis, and on nothing but
// files.
#include "instep/concurrency/guarded.hpp"
#include "instep/event/trace_context.hpp"
#include "instep/http/client.hpp"
#include "instep/http/listener.hpp"
#include "instep/telemetry/logger.hpp"
#include "tests/support/log_lines.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/process.hpp"
#include "tests/support/redis_server.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <thread>

namespace instep::test {
namespace {

using nlohmann::json;
using std::chrono::seconds;
using testing::HasSubstr;
using Words = std::vector<std::string>;

/// A collector of traces.
class Collector {
public:
    [[nodiscard]] std::string url() const { return "http://" + listener_->address(); }

    /// The spans of one trace so far, each with the name of its service and its attributes by name.
    [[nodiscard]] std::vector<json> spans_of(const TraceContext& trace) {
        std::vector<json> found;
        for (const json& span : spans_.copy()) {
            if (span.at("traceId") == trace_id(trace)) {
                found.push_back(span);
            }
        }
        return found;
    }

private:
    HttpResponse take(const json& body) {
        for (const json& resource : body.at("resourceSpans")) {
            const json& service = resource.at("resource").at("attributes").at(0);
            for (json span : resource.at("scopeSpans").at(0).at("spans")) {
                span["service"] = service.at("value").at("stringValue");
                json attributes;
                for (const json& attribute : span.at("attributes")) {
                    attributes[attribute.at("key").get<std::string>()] =
                        attribute.at("value").begin().value();
                }
                span["attributes"] = std::move(attributes);
                spans_.lock()->push_back(std::move(span));
            }
        }
        return {.body = "{}", .content_type = "application/json"};
    }

    SystemClock clock_;
    LogLines lines_;
    Logger logger_{lines_, clock_};
    Guarded<std::vector<json>> spans_;
    std::unique_ptr<HttpListener> listener_ =
        HttpListener::open(
            {},
            {{"POST", "/v1/traces",
              [this](const HttpRequest& request) { return take(json::parse(request.body)); }}},
            logger_)
            .value();
};

class ShopTest : public testing::Test {
protected:
    ShopTest() {
        for (const auto& file : std::filesystem::directory_iterator(SHOP_FOLDER)) {
            if (file.path().extension() == ".toml" || file.path().extension() == ".sql") {
                std::filesystem::copy(file.path(), folder_.path());
            }
        }
        std::filesystem::create_directory(folder_.path() / "mail");
    }

    /// As a line in each service file.
    void given_traces_to(const Collector& collector) const {
        for (const auto& file : std::filesystem::directory_iterator(folder_.path())) {
            if (file.path().extension() == ".toml") {
                std::ostringstream text;
                text << std::ifstream(file.path()).rdbuf();
                std::string traced = std::move(text).str();
                const std::string table = "[service]\n";
                traced.insert(traced.find(table) + table.size(),
                              "otlp = \"" + collector.url() + "\"\n");
                std::ofstream(file.path()) << traced;
            }
        }
    }

    void given_the_shop() {
        for (const char* service : {"users", "orders", "notifications"}) {
            start(service, service);
        }
        for (const auto& [name, process] : processes_) {
            expect_ready(name);
        }
    }

    /// `process` is what the test calls it.
    void start(const std::string& process, const std::string& service, const Words& more = {}) {
        Words words = {"serve", service + ".toml"};
        words.insert(words.end(), more.begin(), more.end());
        if (applied_.insert(service).second) {
            words.emplace_back("--apply");
        }
        processes_[process] = std::make_unique<Process>(program_of(service), options(words));
    }

    void expect_ready(const std::string& process) {
        Process& started = *processes_.at(process);
        EXPECT_TRUE(started.prints("ready: ")) << started.wait(seconds(0)).err;
    }

    /// An order process of the release before.
    void given_an_older_process() {
        start("older orders", "orders", {"--schema", "1"});
        expect_ready("older orders");
    }

    void stop(const std::string& process) {
        processes_.at(process)->signal(SIGTERM);
        EXPECT_EQ(processes_.at(process)->wait().exit, 0);
    }

    void kill(const std::string& process) {
        processes_.at(process)->signal(SIGKILL);
        processes_.at(process)->wait();
    }

    /// Where the process takes requests: "http://127.0.0.1:34567".
    [[nodiscard]] std::string address_of(const std::string& process) const {
        const std::string said = processes_.at(process)->output();
        const std::size_t begin = said.find("http://");
        return said.substr(begin, said.find('\n', begin) - begin);
    }

    [[nodiscard]] HttpResponse send(const std::string& process, const HttpRequest& request) const {
        auto client = HttpClient::create(address_of(process)).value();
        return client.send(request).value_or(HttpResponse{.status = 0});
    }

    [[nodiscard]] HttpResponse post(const std::string& process, const std::string& path,
                                    const json& body, HttpHeaders headers = {}) const {
        return send(
            process,
            {.method = "POST", .path = path, .headers = std::move(headers), .body = body.dump()});
    }

    /// Expects that it is done, and the correlation id is given back.
    void expect_done(const std::string& process, const std::string& path, const json& body,
                     const std::string& correlation_id) const {
        const HttpResponse answer =
            post(process, path, body, {{"X-Correlation-ID", correlation_id}});
        EXPECT_EQ(answer.status, 201U) << answer.body;
        EXPECT_EQ(find_header(answer.headers, "x-correlation-id"), correlation_id);
    }

    void given_user(const std::string& id, const std::string& correlation_id) const {
        expect_done("users", "/users", {{"user_id", id}, {"email", id + "@example.org"}},
                    correlation_id);
        expect_caught_up();
    }

    void expect_caught_up() const {
        const Finished waited =
            instep({"wait", "users.toml", "orders.toml", "notifications.toml", "--caught-up",
                    "--timeout", fmt::format("{}s", kPatience.count())});
        EXPECT_EQ(waited.exit, 0) << waited.err;
    }

    static json order_of(const std::string& id, const std::string& user) {
        return {{"order_id", id},
                {"user_id", user},
                {"lines",
                 {{{"sku", "tea"}, {"quantity", 2}, {"price_cents", 450}},
                  {{"sku", "mug"}, {"quantity", 1}, {"price_cents", 800}}}}};
    }

    void order(const std::string& id, const std::string& user,
               const std::string& process = "orders") const {
        expect_done(process, "/orders", order_of(id, user), "request-" + id);
    }

    void ship(const std::string& id) const {
        expect_done("orders", "/shipments", {{"order_id", id}}, "request-ship-" + id);
    }

    /// What the order service shows, once the mails have come back to it.
    void expect_history(const std::string& rows) const {
        EXPECT_TRUE(eventually([&] { return show("orders") == rows; })) << show("orders");
    }

    [[nodiscard]] std::string show(const std::string& service) const {
        return run_process(program_of(service), options({"show", service + ".toml"})).out;
    }

    [[nodiscard]] Finished instep(const Words& words) const {
        return run_process(INSTEP_PROGRAM, options(words));
    }

    void mail_server_refuses(const std::string& part_of_address) const {
        std::ofstream(folder_.path() / "mail" / "refuses") << part_of_address;
    }

    void mail_server_stalls() const { std::ofstream(folder_.path() / "mail" / "stalls").flush(); }

    void mail_server_is_back() const {
        std::filesystem::remove(folder_.path() / "mail" / "refuses");
        std::filesystem::remove(folder_.path() / "mail" / "stalls");
    }

    /// The mails at the mail server, one text a mail.
    [[nodiscard]] std::vector<std::string> accepted_mails() const {
        std::vector<std::string> mails;
        for (const auto& file : std::filesystem::directory_iterator(folder_.path() / "mail")) {
            if (file.path().extension() == ".eml") {
                std::ostringstream text;
                text << std::ifstream(file.path()).rdbuf();
                mails.push_back(std::move(text).str());
            }
        }
        return mails;
    }

    [[nodiscard]] ProcessOptions options(const Words& words) const {
        ProcessOptions options;
        options.arguments = words;
        options.environment = environment_;
        options.environment.emplace_back("MAIL", folder_.file("mail"));
        options.directory = folder_.path().string();
        return options;
    }

    static std::string program_of(const std::string& service) {
        return service == "recommendations" ? SHOP_RECOMMENDATIONS : SHOP_PROGRAM;
    }

    TempDir folder_;
    std::vector<std::pair<std::string, std::string>> environment_;
    std::set<std::string> applied_;
    std::map<std::string, std::unique_ptr<Process>> processes_;
};

/// On PostgreSQL and Redis.
class ShopOnServersTest : public ShopTest {
protected:
    ShopOnServersTest() {
        for (const char* service : {"users", "orders", "notifications", "recommendations"}) {
            databases_[service] = std::make_unique<PostgresDatabase>();
            std::string variable = fmt::format("DATABASE_{}", service);
            std::ranges::transform(variable, variable.begin(),
                                   [](unsigned char c) { return std::toupper(c); });
            environment_.emplace_back(variable, databases_[service]->url());
        }
        environment_.emplace_back("BROKER", redis_.url());
    }

    [[nodiscard]] std::string sql(const std::string& service, const std::string& statements) const {
        return run_postgres(databases_.at(service)->url(), statements);
    }

    [[nodiscard]] int count(const std::string& service, const std::string& from) const {
        return std::stoi(sql(service, "SELECT count(*) FROM " + from));
    }

    [[nodiscard]] bool eventually_counts(const std::string& service, const std::string& from,
                                         int expected) const {
        return eventually([&] { return count(service, from) == expected; });
    }

    [[nodiscard]] std::string dead_keys() const {
        return sql("notifications",
                   "SELECT string_agg(key, ',' ORDER BY key) FROM instep.parked_key "
                   "WHERE dead_us IS NOT NULL");
    }

    RedisServer redis_;
    std::map<std::string, std::unique_ptr<PostgresDatabase>> databases_;
};

TEST_F(ShopOnServersTest, TwoNotificationProcessesShareTheLoadAndOneIsKilled) {
    given_the_shop();
    given_an_older_process();
    start("second", "notifications");
    expect_ready("second");
    given_user("ada", "request-ada");
    // One of them has had all of the partitions until the other came.
    int earlier = 0;
    EXPECT_TRUE(eventually([&] {
        order(fmt::format("e-{}", ++earlier), "ada");
        return eventually_counts("notifications", "mails", earlier) &&
               sql("notifications", "SELECT count(DISTINCT sent_by) FROM mails") == "2";
    }));
    constexpr int kOrders = 24;
    const auto place = [&](int first, int last) {
        for (int number = first; number <= last; ++number) {
            order(fmt::format("o-{:02}", number), "ada",
                  number % 2 == 0 ? "older orders" : "orders");
        }
    };
    place(1, 12);
    EXPECT_TRUE(eventually_counts("notifications", "mails", earlier + 12));
    // Both processes now stand between a mail that was accepted and the commit that records it.
    mail_server_stalls();
    place(13, 18);
    EXPECT_TRUE(eventually([&] { return std::ssize(accepted_mails()) == earlier + 12 + 2; }));
    EXPECT_EQ(count("notifications", "mails"), earlier + 12);
    kill("second");
    mail_server_is_back();
    place(19, kOrders);
    for (int number = 1; number <= kOrders; ++number) {
        ship(fmt::format("o-{:02}", number));
    }

    const int mails = earlier + 2 * kOrders;
    EXPECT_TRUE(eventually_counts("orders", "order_history WHERE what ~ 'mailed'", mails));
    EXPECT_EQ(count("notifications", "mails"), mails);
    EXPECT_EQ(count("notifications", "mails WHERE number = 1 AND subject ~ '1700 cents .EUR.'"),
              earlier + kOrders);
    EXPECT_EQ(count("notifications", "mails WHERE number = 2 AND subject ~ 'on its way'"), kOrders);
    EXPECT_EQ(std::ssize(accepted_mails()), mails);
    EXPECT_EQ(count("notifications", "instep.parked_key"), 0);
}

TEST_F(ShopOnServersTest, TheCorrelationIdOfTheRequestReachesTheLastEffect) {
    given_the_shop();
    given_an_older_process();
    given_user("ada", "request-ada");
    EXPECT_EQ(sql("orders", "SELECT user_id || ' ' || correlation_id FROM carts"),
              "ada request-ada");
    order("o-1", "ada");
    order("o-2", "ada", "older orders");
    ship("o-1");
    EXPECT_TRUE(eventually_counts("orders", "order_history", 6));
    EXPECT_EQ(sql("orders",
                  "SELECT string_agg(order_id || ' ' || left(what, 6) || ' ' || correlation_id, "
                  "'; ' ORDER BY order_id, correlation_id, what) FROM order_history"),
              "o-1 create request-o-1; o-1 mailed request-o-1; o-1 mailed request-ship-o-1; "
              "o-1 shippe request-ship-o-1; o-2 create request-o-2; o-2 mailed request-o-2");
    EXPECT_THAT(accepted_mails(),
                testing::UnorderedElementsAre(HasSubstr("X-Correlation-ID: request-o-1\n"),
                                              HasSubstr("X-Correlation-ID: request-ship-o-1\n"),
                                              HasSubstr("X-Correlation-ID: request-o-2\n")));
    EXPECT_EQ(sql("orders",
                  "SELECT count(DISTINCT schema) FROM instep.log WHERE type = "
                  "'order.created'"),
              "2");
}

TEST_F(ShopOnServersTest, OneTraceLeadsFromTheRequestToTheLastEffect) {
    Collector collector;
    given_traces_to(collector);
    given_the_shop();
    start("recommendations", "recommendations");
    expect_ready("recommendations");
    given_user("ada", "request-ada");
    SystemRandom random;
    const TraceContext caller = start_trace(random);
    TraceContext unrecorded = start_trace(random);
    unrecorded.sampled = false;
    for (const auto& [id, trace] : {std::pair("o-0", unrecorded), std::pair("o-1", caller)}) {
        const HttpResponse answer = post("orders", "/orders", order_of(id, "ada"),
                                         {{"traceparent", to_trace_parent(trace)}});
        ASSERT_EQ(answer.status, 201U) << answer.body;
    }
    EXPECT_TRUE(eventually([&] { return collector.spans_of(caller).size() == 6; }));
    for (const auto& [name, process] : processes_) {
        process->signal(SIGTERM);
    }
    for (const auto& [name, process] : processes_) {
        EXPECT_EQ(process->wait().exit, 0) << name;
    }
    EXPECT_TRUE(collector.spans_of(unrecorded).empty());

    const std::vector<json> spans = collector.spans_of(caller);
    ASSERT_EQ(spans.size(), 6U) << json(spans).dump(2);
    /// The span, which must be of this kind, below `parent` and without a failure.
    const auto expect_span = [&](const std::string& service, const std::string& name, int kind,
                                 const json& parent) {
        const auto span = std::ranges::find_if(spans, [&](const json& next) {
            return next.at("service") == service && next.at("name") == name;
        });
        if (span == spans.end()) {
            ADD_FAILURE() << "no span " << name << " of " << service;
            return json(spans[0]);
        }
        EXPECT_EQ(span->at("kind"), kind) << name;
        EXPECT_EQ(span->value("parentSpanId", ""), parent.at("spanId")) << name;
        EXPECT_FALSE(span->contains("status")) << name;
        EXPECT_GE(span->at("endTimeUnixNano"), span->at("startTimeUnixNano")) << name;
        EXPECT_GE(span->at("startTimeUnixNano"), parent.value("startTimeUnixNano", "")) << name;
        return *span;
    };
    constexpr int kServer = 2;
    constexpr int kProducer = 4;
    constexpr int kConsumer = 5;
    const json client = {{"spanId", fmt::format("{:016x}", caller.span)}};
    const json request = expect_span("orders", "POST /orders", kServer, client);
    const json sent = expect_span("orders", "send orders.order", kProducer, request);
    const json mailed = expect_span("notifications", "process orders.order", kConsumer, request);
    const json counted = expect_span("recommendations", "process orders.order", kConsumer, request);
    const json told = expect_span("notifications", "send notifications.mail", kProducer, mailed);
    const json noted = expect_span("orders", "process notifications.mail", kConsumer, mailed);

    EXPECT_EQ(request.at("attributes").at("http.response.status_code"), "201");
    const std::string kId = "messaging.message.id";
    EXPECT_EQ(mailed.at("attributes").at(kId), sent.at("attributes").at(kId));
    EXPECT_EQ(counted.at("attributes").at(kId), sent.at("attributes").at(kId));
    EXPECT_EQ(noted.at("attributes").at(kId), told.at("attributes").at(kId));
    EXPECT_NE(noted.at("attributes").at(kId), sent.at("attributes").at(kId));
    EXPECT_EQ(count("orders", "order_history WHERE order_id = 'o-1' AND what ~ '^mailed'"), 1);
}

TEST_F(ShopOnServersTest, RefusedMailsWaitAndAreSentInOrderWhenAPersonSaysSo) {
    given_the_shop();
    given_user("ada", "request-ada");
    given_user("grace", "request-grace");
    mail_server_refuses("grace@");
    order("g-1", "grace");
    ship("g-1");
    order("g-2", "grace");
    order("a-1", "ada");
    ship("a-1");
    EXPECT_TRUE(eventually([&] { return dead_keys() == "g-1,g-2"; }));
    EXPECT_TRUE(eventually([&] {
        return sql("notifications", "SELECT string_agg(order_id, ',') FROM mails") == "a-1,a-1";
    }));

    const Finished listed = instep({"deadletters", "list", "notifications.toml"});
    EXPECT_THAT(listed.out, HasSubstr("the mail server refuses grace@example.org"));
    EXPECT_THAT(listed.out, HasSubstr("g-1"));
    mail_server_is_back();
    const Finished retried = instep({"deadletters", "retry", "notifications.toml", "--error",
                                     "refuses grace", "--reason", "it is back"});
    EXPECT_EQ(retried.exit, 0) << retried.err;
    EXPECT_TRUE(eventually_counts("notifications", "mails", 5));
    EXPECT_EQ(sql("notifications",
                  "SELECT string_agg(left(subject, 14), ',' ORDER BY number) "
                  "FROM mails WHERE order_id = 'g-1'"),
              "Your order g-1,Order g-1 is o");
    EXPECT_EQ(accepted_mails().size(), 5U);
    EXPECT_TRUE(eventually([&] { return dead_keys().empty(); }));
    EXPECT_THAT(instep({"deadletters", "record", "notifications.toml"}).out,
                HasSubstr("it is back"));
}

TEST_F(ShopOnServersTest, ALaterServiceIsFilledFromThePast) {
    given_the_shop();
    given_an_older_process();
    given_user("ada", "request-ada");
    for (int number = 1; number <= 6; ++number) {
        order(fmt::format("o-{}", number), "ada", number == 6 ? "older orders" : "orders");
    }
    expect_caught_up();
    start("recommendations", "recommendations");
    expect_ready("recommendations");
    order("o-7", "ada");
    EXPECT_TRUE(
        eventually([&] { return show("recommendations") == "mug  tea  6\ntea  mug  6\n"; }));
    stop("recommendations");
    order("o-8", "ada");
    start("recommendations", "recommendations");
    EXPECT_TRUE(
        eventually([&] { return show("recommendations") == "mug  tea  7\ntea  mug  7\n"; }));
}

/// SQLite and a file as the broker.
TEST_F(ShopTest, RunsOnNothingButFiles) {
    given_the_shop();
    given_an_older_process();
    start("second", "notifications");
    expect_ready("second");
    given_user("ada", "request-ada");
    order("o-1", "ada");
    ship("o-1");
    stop("second");
    order("o-2", "ada", "older orders");
    expect_history(
        "o-1  created  request-o-1\n"
        "o-1  mailed: Order o-1 is on its way  request-ship-o-1\n"
        "o-1  mailed: Your order o-1 over 1700 cents (EUR)  request-o-1\n"
        "o-1  shipped  request-ship-o-1\n"
        "o-2  created  request-o-2\n"
        "o-2  mailed: Your order o-2 over 1700 cents (EUR)  request-o-2\n");
    EXPECT_EQ(accepted_mails().size(), 3U);
    start("recommendations", "recommendations");
    expect_ready("recommendations");
    EXPECT_TRUE(
        eventually([&] { return show("recommendations") == "mug  tea  1\ntea  mug  1\n"; }));
}

TEST_F(ShopTest, ARequestThatFailsLeavesNothing) {
    given_the_shop();
    given_user("ada", "request-ada");
    order("o-1", "ada");
    const auto expect_refused = [&](const std::string& path, const json& body, unsigned status,
                                    const std::string& why) {
        const HttpResponse answer = post("orders", path, body);
        EXPECT_EQ(answer.status, status) << answer.body;
        EXPECT_THAT(answer.body, HasSubstr(why));
        EXPECT_NE(find_header(answer.headers, "x-correlation-id"), "");
    };
    expect_refused("/orders", order_of("o-1", "ada"), 409, "orders");
    expect_refused("/orders", order_of("o-2", "nobody"), 404, "user nobody has no cart");
    expect_refused("/shipments", {{"order_id", "o-2"}}, 409, "o-2 does not exist");
    expect_refused("/orders", {{"order_id", "o-3"}, {"user_id", "ada"}}, 400, "lines: is missing");
    json wrong = order_of("o-3", "ada");
    wrong["lines"][0]["price_cents"] = 4.5;
    expect_refused("/orders", wrong, 400, "price_cents");
    wrong["lines"][0]["price_cents"] = -1;
    expect_refused("/orders", wrong, 400, "a price 0 to 1000000 cents");
    wrong["lines"] = json::array();
    expect_refused("/orders", wrong, 400, "1 to 100 lines");
    EXPECT_EQ(send("orders", {.method = "POST", .path = "/orders", .body = "{"}).status, 400U);
    EXPECT_EQ(send("orders", {.path = "/orders"}).status, 405U);
    expect_history(
        "o-1  created  request-o-1\n"
        "o-1  mailed: Your order o-1 over 1700 cents (EUR)  request-o-1\n");
    EXPECT_EQ(accepted_mails().size(), 1U);
}

TEST_F(ShopTest, ARequestWithoutACorrelationIdIsGivenOne) {
    given_the_shop();
    given_user("ada", "request-ada");
    const HttpResponse answer = post("orders", "/orders", order_of("o-1", "ada"));
    EXPECT_EQ(answer.status, 201U) << answer.body;
    const std::string given(find_header(answer.headers, "x-correlation-id"));
    EXPECT_EQ(given.size(), 36U);
    expect_history("o-1  created  " + given +
                   "\no-1  mailed: Your order o-1 over 1700 cents (EUR)  " + given + "\n");
}

TEST_F(ShopTest, ACorrelationIdThatDoesNotBelongIntoLogsIsRefused) {
    given_the_shop();
    given_user("ada", "request-ada");
    for (const std::string& hostile : {std::string(129, 'x'), std::string("a b"),
                                       std::string("\"},{\""), std::string("<script>")}) {
        const HttpResponse answer =
            post("orders", "/orders", order_of("o-1", "ada"), {{"x-correlation-id", hostile}});
        EXPECT_EQ(answer.status, 400U);
        EXPECT_THAT(answer.body, HasSubstr("x-correlation-id may have 128 letters"));
        EXPECT_NE(find_header(answer.headers, "x-correlation-id"), hostile);
    }
    expect_done("orders", "/orders", order_of("o-1", "ada"), std::string(128, 'x'));
}

/// One variable of the process, as the seed has it, would mix them.
TEST_F(ShopTest, RequestsAtOnceKeepTheirOwnCorrelationIds) {
    given_the_shop();
    given_user("ada", "request-ada");
    std::string expected;
    {
        std::vector<std::jthread> clients;
        for (int number = 10; number < 30; ++number) {
            const std::string id = fmt::format("o-{}", number);
            clients.emplace_back([this, id] { order(id, "ada"); });
            expected += fmt::format(
                "{0}  created  request-{0}\n"
                "{0}  mailed: Your order {0} over 1700 cents (EUR)  request-{0}\n",
                id);
        }
    }
    expect_history(expected);
}

TEST_F(ShopTest, AProcessShowsWhatItDoes) {
    given_the_shop();
    given_user("ada", "request-ada");
    order("o-1", "ada");
    const auto shows = [&](const std::string& process, const std::string& line) {
        return eventually(
            [&] { return send(process, {.path = "/metrics"}).body.contains(line + "\n"); });
    };
    EXPECT_TRUE(
        shows("orders", R"(instep_published_total{service="orders",topic="orders.order"} 1)"));
    EXPECT_TRUE(shows("notifications",
                      R"(instep_processed_total{service="notifications",status="applied",)"
                      R"(subscription="notifications.mails"} 1)"));
    EXPECT_TRUE(shows("notifications", R"(instep_lag_events{service="notifications",)"
                                       R"(subscription="notifications.mails"} 0)"));
    EXPECT_EQ(send("orders", {.path = "/healthz"}).status, 200U);
}

}  // namespace
}  // namespace instep::test
