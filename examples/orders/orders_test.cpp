// The programs of this folder as processes, on PostgreSQL and RabbitMQ, and without servers.
#include "tests/support/eventually.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/process.hpp"
#include "tests/support/rabbitmq_vhost.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <instep/base/clock.hpp>
#include <instep/http/client.hpp>
#include <instep/log/log.hpp>
#include <instep/service/service.hpp>

#include <array>
#include <csignal>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace orders {
namespace {

using instep::test::eventually;
using instep::test::Finished;
using instep::test::Process;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

constexpr int kConflict = 6;

struct Urls {
    std::string orders_database;
    std::string read_model_database;
    std::string broker;
};

/// The order service and the read model on these databases and this broker.
class OrderSystem {
public:
    explicit OrderSystem(Urls urls)
        : urls_(std::move(urls)),
          environment_{{"DATABASE_ORDERS", urls_.orders_database},
                       {"DATABASE_READ_MODEL", urls_.read_model_database},
                       {"BROKER", urls_.broker}} {
        EXPECT_EQ(orders({"apply"}).exit, 0);
        EXPECT_EQ(run(INSTEP_READ_MODEL, {"apply", "read_model.toml"}).exit, 0);
        start_read_model();
        start_relay();
    }

    Finished orders(std::vector<std::string> arguments) const {
        return run(INSTEP_ORDERS, std::move(arguments));
    }

    void expect_done(std::vector<std::string> arguments) const {
        const Finished done = orders(std::move(arguments));
        EXPECT_EQ(done.exit, 0) << done.err;
    }

    std::unique_ptr<Process> start_orders(std::vector<std::string> arguments) const {
        return start(INSTEP_ORDERS, std::move(arguments));
    }

    void start_read_model() {
        read_model_ = start(INSTEP_READ_MODEL, {"run", "read_model.toml"});
        EXPECT_TRUE(read_model_->prints("ready"));
    }

    void start_relay() {
        relay_ = start(INSTEP_PROGRAM, {"run", "orders.toml"});
        EXPECT_TRUE(relay_->prints("ready"));
    }

    void kill_read_model() { kill(*read_model_); }
    void kill_relay() { kill(*relay_); }

    [[nodiscard]] const Process& read_model() const { return *read_model_; }

    /// What a process answers at the address that its log names; `status` 0 if it does not.
    static instep::HttpResponse ask(const Process& process, const std::string& path) {
        constexpr std::string_view kMark = "address=";
        const std::string log = process.complaints();
        const std::size_t begin = log.find(kMark, log.find("monitor.listens")) + kMark.size();
        const std::string address = log.substr(begin, log.find_first_of(" \n", begin) - begin);
        auto client = instep::HttpClient::create("http://" + address).value();
        return client.send({.path = path}).value_or(instep::HttpResponse{.status = 0});
    }

    bool relay_shows(const std::string& line) const { return shows(*relay_, line); }
    bool read_model_shows(const std::string& line) const { return shows(*read_model_, line); }

    /// How the read model ends when it is asked to.
    Finished end_read_model() {
        read_model_->signal(SIGTERM);
        return read_model_->wait();
    }

    /// The first column of the rows.
    std::vector<std::string> order_rows(std::string_view sql) const {
        return rows(urls_.orders_database, sql);
    }
    std::vector<std::string> summary_rows(std::string_view sql) const {
        return rows(urls_.read_model_database, sql);
    }

    /// What another release of the order service would write.
    void append(const instep::NewEvent& event) const {
        const auto database = instep::open_database(urls_.orders_database, clock_).value();
        const auto connection = database->connect().value();
        auto transaction =
            instep::Transaction::begin(*connection, instep::TransactionMode::kWrite).value();
        EXPECT_TRUE(instep::append(transaction, std::array{event}));
        EXPECT_TRUE(transaction.commit());
    }

    /// True once the read model has `count` orders with this status.
    bool reads(int count, std::string_view status) const {
        const std::string sql = fmt::format(
            "SELECT CAST(count(*) AS text) FROM order_summary WHERE status = '{}'", status);
        return eventually([&] { return summary_rows(sql).front() == fmt::to_string(count); });
    }

    /// What differs between both sides' idea of the orders, and of what was paid.
    void expect_in_step() const {
        constexpr std::string_view kOrders =
            "SELECT order_id || '|' || customer_id || '|' || total_cents || '|' || currency || "
            "'|' || status FROM {} ORDER BY order_id";
        EXPECT_EQ(summary_rows(fmt::format(kOrders, "order_summary")),
                  order_rows(fmt::format(kOrders, "orders")));
        EXPECT_EQ(summary_rows("SELECT customer_id || '|' || currency || '|' || orders || '|' || "
                               "paid_cents FROM customer_summary ORDER BY customer_id, currency"),
                  order_rows("SELECT customer_id || '|' || currency || '|' || count(*) || '|' || "
                             "sum(CASE status WHEN 'created' THEN 0 ELSE total_cents END) "
                             "FROM orders GROUP BY customer_id, currency "
                             "ORDER BY customer_id, currency"));
    }

private:
    static bool shows(const Process& process, const std::string& line) {
        return eventually([&] { return ask(process, "/metrics").body.contains(line + "\n"); });
    }

    std::unique_ptr<Process> start(const char* program, std::vector<std::string> arguments) const {
        return std::make_unique<Process>(
            program, instep::test::ProcessOptions{.arguments = std::move(arguments),
                                                  .environment = environment_,
                                                  .directory = INSTEP_EXAMPLE_SOURCE});
    }

    Finished run(const char* program, std::vector<std::string> arguments) const {
        return start(program, std::move(arguments))->wait();
    }

    static void kill(Process& process) {
        process.signal(SIGKILL);
        EXPECT_EQ(process.wait().exit, 128 + SIGKILL);
    }

    std::vector<std::string> rows(const std::string& url, std::string_view sql) const {
        const auto database = instep::open_database(url, clock_).value();
        const auto connection = database->connect().value();
        const auto cursor = connection->query(sql, {}).value();
        std::vector<std::string> texts;
        while (cursor->next().value()) {
            texts.emplace_back(cursor->text(0));
        }
        return texts;
    }

    const instep::SystemClock clock_;
    const Urls urls_;
    const std::vector<std::pair<std::string, std::string>> environment_;
    std::unique_ptr<Process> read_model_;
    std::unique_ptr<Process> relay_;
};

void place_pay_and_ship(const OrderSystem& system, int number) {
    const std::string order = fmt::format("o-{}", number);
    const std::string customer = fmt::format("c-{}", number % 3);
    system.expect_done({"place", customer, fmt::to_string(100 + number), "--order", order,
                        "--schema", number % 2 == 0 ? "1" : "2"});
    system.expect_done({"pay", order});
    system.expect_done({"ship", order, "T" + order});
}

constexpr int kOrders = 24;

void place_pay_and_ship_all(const OrderSystem& system, int from, int to) {
    for (int number = from; number < to; ++number) {
        place_pay_and_ship(system, number);
    }
}

/// On the tests' own servers.
class OrdersOnServersTest : public testing::Test {
protected:
    instep::test::PostgresDatabase orders_;
    instep::test::PostgresDatabase read_model_;
    instep::test::RabbitmqVhost vhost_;
    OrderSystem system_{{orders_.url(), read_model_.url(), vhost_.url()}};
};

TEST_F(OrdersOnServersTest, EachEventTakesEffectOnceAlthoughServicesAreKilled) {
    place_pay_and_ship_all(system_, 0, 4);
    system_.kill_relay();
    place_pay_and_ship_all(system_, 4, 8);
    system_.start_relay();
    system_.kill_read_model();
    place_pay_and_ship_all(system_, 8, 16);
    system_.start_read_model();
    place_pay_and_ship_all(system_, 16, kOrders);
    ASSERT_TRUE(system_.reads(kOrders, "shipped"));
    system_.expect_in_step();
    EXPECT_EQ(system_.end_read_model().exit, 0);
}

TEST_F(OrdersOnServersTest, AReadModelThatIsKilledWithEventsUnderWayAppliesEachOnce) {
    system_.kill_read_model();
    std::vector<std::string> calls;
    for (int number = 0; number < 400; ++number) {
        calls.push_back(
            fmt::format("SELECT instep.append('orders.order', 'b-{0}', 'order.created', "
                        "'{{\"order_id\":\"b-{0}\",\"customer_id\":\"bulk\",\"total_cents\":{1},"
                        "\"currency\":\"EUR\"}}', stream => 'order-b-{0}', expected_version => 0, "
                        "schema => 'urn:orders:order.created:2')",
                        number, number + 1));
    }
    instep::test::run_postgres(orders_.url(), fmt::format("{}", fmt::join(calls, ";")));
    for (int kills = 0; kills < 3; ++kills) {
        system_.start_read_model();
        const std::string before =
            system_.summary_rows("SELECT CAST(count(*) AS text) FROM order_summary").front();
        ASSERT_TRUE(before == "400" || eventually([&] {
                        return system_
                                   .summary_rows(
                                       "SELECT CAST(count(*) AS text) "
                                       "FROM order_summary")
                                   .front() != before;
                    }));
        system_.kill_read_model();
    }
    system_.start_read_model();
    ASSERT_TRUE(system_.reads(400, "created"));
    EXPECT_THAT(system_.summary_rows("SELECT orders || '|' || (SELECT sum(total_cents) "
                                     "FROM order_summary) FROM customer_summary"),
                ElementsAre("400|80200"));
}

/// What is watched of such a system: what waits, what went out, how far behind readers are.
TEST_F(OrdersOnServersTest, ShowsWhatThePipelineDoes) {
    place_pay_and_ship_all(system_, 0, 2);
    ASSERT_TRUE(system_.reads(2, "shipped"));
    EXPECT_TRUE(system_.relay_shows(R"(instep_relay_lag_events{service="orders"} 0)"));
    EXPECT_TRUE(
        system_.relay_shows(R"(instep_published_total{service="orders",topic="orders.order"} 6)"));
    EXPECT_TRUE(system_.relay_shows(R"(instep_publish_failures_total{service="orders"} 0)"));
    EXPECT_TRUE(
        system_.read_model_shows(R"(instep_processed_total{service="read-model",status="applied",)"
                                 R"(subscription="read-model.summary"} 6)"));
    EXPECT_TRUE(system_.read_model_shows(
        R"(instep_lag_events{service="read-model",subscription="read-model.summary"} 0)"));
    for (const char* path : {"/livez", "/readyz", "/healthz"}) {
        EXPECT_EQ(OrderSystem::ask(system_.read_model(), path).status, 200U) << path;
    }
}

/// What only the event store decides.
class OrdersOnPostgresTest : public testing::Test {
protected:
    instep::test::TempDir dir_;
    instep::test::PostgresDatabase orders_;
    OrderSystem system_{
        {orders_.url(), "sqlite:" + dir_.file("read.db"), "embedded:" + dir_.file("broker.db")}};
};

TEST_F(OrdersOnPostgresTest, OfTwoPaymentsAtOnceOneIsAConflict) {
    for (int number = 0; number < 5; ++number) {
        const std::string order = fmt::format("o-{}", number);
        system_.expect_done({"place", "ada", "1250", "--order", order});
        const auto one = system_.start_orders({"pay", order});
        const auto other = system_.start_orders({"pay", order});
        EXPECT_THAT((std::vector{one->wait().exit, other->wait().exit}),
                    UnorderedElementsAre(0, kConflict));
    }
    EXPECT_THAT(system_.order_rows("SELECT CAST(version AS text) FROM instep.stream"),
                ElementsAre("2", "2", "2", "2", "2"));
}

/// On the embedded default: two SQLite files and a broker in a third.
class OrdersWithoutServersTest : public testing::Test {
protected:
    instep::test::TempDir dir_;
    OrderSystem system_{{"sqlite:" + dir_.file("orders.db"), "sqlite:" + dir_.file("read.db"),
                         "embedded:" + dir_.file("broker.db")}};
};

TEST_F(OrdersWithoutServersTest, EachEventTakesEffectOnce) {
    place_pay_and_ship_all(system_, 0, kOrders);
    ASSERT_TRUE(system_.reads(kOrders, "shipped"));
    system_.expect_in_step();
    EXPECT_EQ(system_.end_read_model().exit, 0);
}

TEST_F(OrdersWithoutServersTest, RefusesWhatTheOrdersStateDoesNotAllow) {
    const Finished unknown = system_.orders({"pay", "o-1"});
    EXPECT_EQ(unknown.exit, 5);
    EXPECT_THAT(unknown.err, HasSubstr("there is no order o-1"));
    EXPECT_EQ(system_.orders({"place", "ada", "12.50", "--order", "o-1"}).exit, 2);
    EXPECT_EQ(system_.orders({"place", "ada", "-1", "--order", "o-1"}).exit, 2);
    system_.expect_done({"place", "ada", "1250", "--order", "o-1"});
    EXPECT_EQ(system_.orders({"place", "ada", "1250", "--order", "o-1"}).exit, kConflict);
    const Finished unpaid = system_.orders({"ship", "o-1"});
    EXPECT_EQ(unpaid.exit, kConflict);
    EXPECT_THAT(unpaid.err, HasSubstr("order o-1 is created and cannot be shipped"));
    system_.expect_done({"pay", "o-1"});
    EXPECT_EQ(system_.orders({"pay", "o-1"}).exit, kConflict);
    system_.expect_done({"ship", "o-1"});
    EXPECT_EQ(system_.orders({"pay", "o-1"}).exit, kConflict);
    EXPECT_THAT(system_.orders({"show", "o-1"}).out,
                testing::AllOf(HasSubstr("1 order.created"), HasSubstr("3 order.shipped"),
                               testing::Not(HasSubstr("  4 "))));
}

TEST_F(OrdersWithoutServersTest, ACommandIsFoundInTheLogsOfOthersByItsCorrelationId) {
    system_.expect_done({"place", "ada", "1250", "--order", "o-1", "--correlation-id", "call-7"});
    EXPECT_TRUE(system_.read_model().complains("correlation_id=call-7"));
}

TEST_F(OrdersWithoutServersTest, AnOrderIsLoadedFromItsSnapshotAndTheEventsBehindIt) {
    system_.expect_done({"place", "ada", "1250", "--order", "o-1"});
    system_.expect_done({"pay", "o-1"});
    const auto shown = [&] { return system_.orders({"show", "o-1"}).out; };
    const auto set = [&](const std::string& assignments) {
        system_.order_rows("UPDATE orders SET " + assignments + " RETURNING order_id");
    };
    // A mark that only a snapshot can bring.
    set("customer_id = 'from the snapshot'");
    EXPECT_THAT(shown(), HasSubstr("o-1 paid from the snapshot 1250 EUR"));
    set("status = 'created', version = 1");
    EXPECT_THAT(shown(), HasSubstr("o-1 paid from the snapshot 1250 EUR"));
    // Made by other rules: the events alone count, and the next one replaces it.
    set("fold = 0, status = 'nonsense'");
    EXPECT_THAT(shown(), HasSubstr("o-1 paid ada 1250 EUR"));
    system_.expect_done({"ship", "o-1"});
    EXPECT_THAT(system_.order_rows("SELECT customer_id || ' ' || status || ' ' || version || ' ' "
                                   "|| fold FROM orders"),
                ElementsAre("ada shipped 3 1"));
}

TEST_F(OrdersWithoutServersTest, EventsOfTheFirstReleaseAreReadAsThoseOfTheSecond) {
    system_.expect_done({"place", "ada", "1250", "--order", "o-1", "--schema", "1"});
    system_.expect_done({"place", "ada", "990", "--order", "o-2", "--currency", "SEK"});
    system_.expect_done({"pay", "o-1"});
    ASSERT_TRUE(system_.reads(1, "paid"));
    ASSERT_TRUE(system_.reads(1, "created"));
    system_.expect_in_step();
    EXPECT_THAT(system_.orders({"show", "o-1"}).out, HasSubstr("o-1 paid ada 1250 EUR"));
    EXPECT_THAT(
        system_.summary_rows("SELECT order_id || ' ' || currency FROM order_summary ORDER BY 1"),
        ElementsAre("o-1 EUR", "o-2 SEK"));
}

TEST_F(OrdersWithoutServersTest, AnEventOfANewerReleaseWaitsAndHoldsUpItsOrderOnly) {
    instep::NewEvent event;
    event.topic = "orders.order";
    event.key = "o-new";
    event.type = "order.created";
    event.stream = "order-o-new";
    event.schema = "urn:orders:order.created:3";
    event.data = "{}";
    system_.append(event);
    const Finished refused = system_.orders({"pay", "o-new"});
    EXPECT_EQ(refused.exit, 1);
    EXPECT_THAT(refused.err, HasSubstr("urn:orders:order.created:3"));
    place_pay_and_ship(system_, 1);
    ASSERT_TRUE(system_.reads(1, "shipped"));
    EXPECT_TRUE(eventually([this] {
        return system_.summary_rows("SELECT key FROM instep_parked_key") ==
               std::vector<std::string>{"o-new"};
    }));
    EXPECT_THAT(system_.summary_rows("SELECT order_id FROM order_summary"), ElementsAre("o-1"));
}

}  // namespace
}  // namespace orders
