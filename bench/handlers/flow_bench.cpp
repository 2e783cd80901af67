// From the commit in one service to the effect in another, over Redis: payments are appended to
// the log of a bank while its relay publishes and a ledger's handlers book them, each once.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/handlers/benchmarks.hpp"
#include "bench/handlers/payments.hpp"
#include "instep/log/log.hpp"
#include "tests/support/redis_server.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::bench {

namespace {

constexpr std::int64_t kEvents = 200'000;

/// Payments in one transaction of the bank.
constexpr std::int64_t kTransaction = 100;

/// What systems of this kind are said to handle in production.
constexpr double kClaimedPerMinute = 10'000;

class FlowBench {
public:
    FlowBench(const test::PostgresServer& server, const std::string& broker,
              std::uint32_t partitions)
        : server_(server) {
        bank_.name = fmt::format("bank{}", partitions);
        bank_.partitions = partitions;
        ledger_.name = fmt::format("ledger{}", partitions);
        for (ServiceConfig* const config : {&bank_, &ledger_}) {
            config->database = make_database(server, config->name);
            config->broker = broker;
        }
        ledger_.subscriptions = {{.name = "accounts", .topic = bank_.name + ".payment"}};
        session_ = std::make_unique<Session>(ledger_.database);
        make_accounts(*session_, "accounts");
        start(bank_, "bank", {});
        // One holds one partition.
        for (std::uint32_t member = 1; member <= partitions; ++member) {
            start(ledger_, fmt::format("ledger-{}", member),
                  {{"accounts", booking_handlers("accounts")}});
        }
        database_ = must(open_database(bank_.database, clock_));
        connection_ = must(database_->connect());
    }

    ~FlowBench() {
        for (const auto& service : services_) {
            must(service->stop(std::chrono::seconds(30)));
        }
    }

    Measured round(std::int64_t count) {
        return rate_of(cpu_with(server_), [&] {
            append(count);
            next_ += count;
            wait_until([&] {
                return std::stoll(session_->value("SELECT sum(payments) FROM accounts")) >= next_;
            });
            return count;
        });
    }

    void check() {
        const std::string booked =
            session_->value("SELECT sum(cents) || ' ' || sum(payments) FROM accounts");
        if (booked != fmt::format("{} {}", sum_of_payments(0, next_), next_)) {
            throw std::runtime_error("the ledger booked " + booked);
        }
    }

private:
    void start(const ServiceConfig& config, std::string process, Handlers handlers) {
        must(apply_service(config, clock_, {}));
        services_.push_back(
            must(Service::create(config, {clock_, random_, logger_, brokers_, std::move(process)},
                                 std::move(handlers))));
        services_.back()->start();
    }

    void append(std::int64_t count) {
        std::vector<NewEvent> events(kTransaction);
        for (std::int64_t from = next_; from < next_ + count; from += kTransaction) {
            for (std::int64_t i = 0; i < kTransaction; ++i) {
                const PaymentMade made = payment(from + i);
                NewEvent& event = events[static_cast<std::size_t>(i)];
                event.topic = bank_.name + ".payment";
                event.key = made.account;
                event.type = PaymentMade::kType;
                event.data = to_payload(made);
            }
            auto transaction = must(Transaction::begin(*connection_, TransactionMode::kWrite));
            must(instep::append(transaction, events));
            must(transaction.commit());
        }
    }

    SystemClock clock_;
    SystemRandom random_;
    FileLogSink sink_{2};
    Logger logger_{sink_, clock_, {LogLevel::kError, LogFormat::kText}};
    const test::PostgresServer& server_;
    ServiceConfig bank_;
    ServiceConfig ledger_;
    Brokers brokers_{clock_};
    std::vector<std::unique_ptr<Service>> services_;
    std::unique_ptr<Database> database_;
    std::unique_ptr<Connection> connection_;
    std::unique_ptr<Session> session_;
    std::int64_t next_ = 0;
};

}  // namespace

void run_handler_flow_bench(const BenchSize& size) {
    const std::int64_t events =
        std::max<std::int64_t>(size.rows.value_or(kEvents) / kTransaction, 1) * kTransaction;
    const auto server = start_server();
    const test::RedisServer redis;
    FlowBench one(*server, redis.url(), 1);
    FlowBench two(*server, redis.url(), 2);
    const auto figures = measure({{"one partition", [&] { return one.round(events); }},
                                  {"two partitions", [&] { return two.round(events); }}},
                                 size.rounds.value_or(3));
    one.check();
    two.check();
    fmt::print("Handlers over Redis, from append to effect: {} events\n", events);
    for (const Figures& next : figures) {
        print(next, "events/s");
    }
    fmt::print(
        "  10,000 events a minute are passed {:.0f} and {:.0f} times (bar 100); peak memory "
        "{:.0f} MiB\n",
        figures[0].median * 60 / kClaimedPerMinute, figures[1].median * 60 / kClaimedPerMinute,
        peak_memory_mib());
}

}  // namespace instep::bench
