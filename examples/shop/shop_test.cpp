// The shop from outside: its programs as processes on PostgreSQL and Redis, and on nothing but
// files.
#include "tests/support/postgres_database.hpp"
#include "tests/support/process.hpp"
#include "tests/support/redis_server.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>

namespace instep::test {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using Words = std::vector<std::string>;

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

    void given_the_shop() {
        for (const char* service : {"users", "orders", "notifications"}) {
            start(service, service);
        }
        for (const auto& [name, process] : processes_) {
            expect_ready(name);
        }
    }

    /// `process` is what the test calls it.
    void start(const std::string& process, const std::string& service) {
        Words words = {"serve", service + ".toml"};
        if (applied_.insert(service).second) {
            words.emplace_back("--apply");
        }
        processes_[process] = std::make_unique<Process>(program_of(service), options(words));
    }

    void expect_ready(const std::string& process) {
        Process& started = *processes_.at(process);
        EXPECT_TRUE(started.prints("ready: ")) << started.wait(seconds(0)).err;
    }

    void stop(const std::string& process) {
        processes_.at(process)->signal(SIGTERM);
        EXPECT_EQ(processes_.at(process)->wait().exit, 0);
    }

    void kill(const std::string& process) {
        processes_.at(process)->signal(SIGKILL);
        processes_.at(process)->wait();
    }

    [[nodiscard]] Finished shop(const Words& words) const {
        return run_process(SHOP_PROGRAM, options(words));
    }

    void expect_done(const Words& words) const {
        const Finished finished = shop(words);
        EXPECT_EQ(finished.exit, 0) << finished.err;
    }

    void given_user(const std::string& id, const std::string& correlation_id) const {
        expect_done({"user", "users.toml", "--id", id, "--email", id + "@example.org",
                     "--correlation-id", correlation_id});
        expect_caught_up();
    }

    void expect_caught_up() const {
        const Finished waited =
            instep({"wait", "users.toml", "orders.toml", "notifications.toml", "--caught-up",
                    "--timeout", fmt::format("{}s", kPatience.count())});
        EXPECT_EQ(waited.exit, 0) << waited.err;
    }

    void order(const std::string& id, const std::string& user, const Words& more = {}) const {
        Words words = {
            "order",  "orders.toml", "--id",   id,          "--user",           user,
            "--line", "tea:2:450",   "--line", "mug:1:800", "--correlation-id", "request-" + id};
        words.insert(words.end(), more.begin(), more.end());
        expect_done(words);
    }

    [[nodiscard]] Finished order_of(const std::string& id, const std::string& user,
                                    const std::string& line) const {
        return shop({"order", "orders.toml", "--id", id, "--user", user, "--line", line});
    }

    void ship(const std::string& id) const {
        expect_done({"ship", "orders.toml", "--id", id, "--correlation-id", "request-ship-" + id});
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
            const Words older = number % 2 == 0 ? Words{"--schema", "1"} : Words{};
            order(fmt::format("o-{:02}", number), "ada", older);
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
    given_user("ada", "request-ada");
    EXPECT_EQ(sql("orders", "SELECT user_id || ' ' || correlation_id FROM carts"),
              "ada request-ada");
    order("o-1", "ada");
    order("o-2", "ada", {"--schema", "1"});
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
    given_user("ada", "request-ada");
    for (int number = 1; number <= 6; ++number) {
        order(fmt::format("o-{}", number), "ada", number == 6 ? Words{"--schema", "1"} : Words{});
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
    start("second", "notifications");
    expect_ready("second");
    given_user("ada", "request-ada");
    order("o-1", "ada");
    ship("o-1");
    stop("second");
    order("o-2", "ada", {"--schema", "1"});
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
    EXPECT_EQ(order_of("o-1", "ada", "tea:1:450").exit, 1);
    const Finished unknown = order_of("o-2", "nobody", "tea:1:450");
    EXPECT_EQ(unknown.exit, 1);
    EXPECT_THAT(unknown.err, HasSubstr("user nobody has no cart"));
    EXPECT_EQ(shop({"ship", "orders.toml", "--id", "o-2"}).exit, 1);
    EXPECT_EQ(order_of("o-3", "ada", "tea:1:4.5").exit, 2);
    expect_history(
        "o-1  created  request-o-1\n"
        "o-1  mailed: Your order o-1 over 1700 cents (EUR)  request-o-1\n");
    EXPECT_EQ(accepted_mails().size(), 1U);
}

}  // namespace
}  // namespace instep::test
