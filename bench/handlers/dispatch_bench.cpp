// Handlers with their inbox, against a bare loop that writes the same effects in transactions of
// the same size; and what metrics and spans add.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/handlers/benchmarks.hpp"
#include "bench/handlers/feed_broker.hpp"
#include "bench/handlers/payments.hpp"
#include "bench/postgres/log_rows.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/db/postgres/database.hpp"
#include "instep/http/listener.hpp"
#include "instep/otlp/exporter.hpp"
#include "instep/telemetry/metrics.hpp"
#include "instep/telemetry/telemetry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

namespace instep::bench {

namespace {

constexpr std::int64_t kEvents = 40'000;

/// What a consumer takes in one transaction.
constexpr std::int64_t kBatch = 2000;

/// A collector of traces that takes everything and looks at nothing.
class Collector {
public:
    explicit Collector(const Logger& logger)
        : listener_(must(HttpListener::open(
              {.body_bytes_max = 64U * 1024 * 1024},
              {{"POST", "/v1/traces",
                [](const HttpRequest&) {
                    return HttpResponse{.body = "{}", .content_type = "application/json"};
                }}},
              logger))) {}

    [[nodiscard]] std::string url() const { return "http://" + listener_->address(); }

private:
    std::unique_ptr<HttpListener> listener_;
};

class DispatchBench {
public:
    explicit DispatchBench(std::int64_t events)
        : count_(events),
          server_(start_server({"autovacuum = off"})),
          url_(make_database(*server_, "bank")),
          session_(url_),
          database_(must(open_postgres(url_, clock_))),
          collector_(logger_),
          spans_(must(OtlpExporter::create({.url = collector_.url()}, clock_, random_, metrics_,
                                           logger_))) {
        make_service_tables(*database_);
        for (const char* table : {"bare", "plain", "metered", "traced"}) {
            make_accounts(session_, table);
        }
        session_.prepare("book", booking_sql("bare"));
    }

    void run(int rounds) {
        const auto handled = [this](const char* name, const char* table,
                                    std::optional<Telemetry> telemetry) {
            return Contender{name, [this, table, telemetry = std::move(telemetry)] {
                                 return handle(table, telemetry);
                             }};
        };
        const Telemetry metered{"bank", clock_, random_, metrics_, nullptr};
        const Telemetry traced{"bank", clock_, random_, metrics_, spans_.get()};
        const std::vector<Contender> contenders = {
            {"bare loop, a statement an event", [this] { return loop(); }},
            handled("handlers with inbox", "plain", std::nullopt),
            handled("the same with metrics", "metered", metered),
            handled("the same with metrics, and a span for every event", "traced", traced)};
        measure(contenders, 1);
        const auto figures = measure(contenders, rounds);
        check_sums();
        fmt::print("Handlers on PostgreSQL: {} events in transactions of {}\n", count_, kBatch);
        for (const Figures& next : figures) {
            print(next, "events/s");
        }
        const auto ratio = [&](std::size_t of, std::size_t to) {
            return figures[of].median / figures[to].median;
        };
        fmt::print(
            "  dispatch to the bare loop {:.2f} (bar 0.50); metrics cost {:.1f} %, spans of all "
            "events {:.1f} % (bar 5 %), of CPU {:.1f} and {:.1f} %; {} spans sent, {} lost\n",
            ratio(1, 0), 100 * (1 - ratio(2, 1)), 100 * (1 - ratio(3, 1)),
            100 * (figures[2].cpu_us / figures[1].cpu_us - 1),
            100 * (figures[3].cpu_us / figures[1].cpu_us - 1), spans_counted("exported"),
            spans_counted("dropped"));
    }

private:
    /// Each way books the same payments in its rounds.
    Measured loop() {
        const std::int64_t first = next_["bare"];
        next_["bare"] += count_;
        return rate_of(cpu_with(*server_), [&] {
            for (std::int64_t from = first; from < first + count_; from += kBatch) {
                session_.run("BEGIN");
                for (std::int64_t number = from; number < from + kBatch; ++number) {
                    const PaymentMade made = payment(number);
                    session_.run_prepared("book", {made.account, std::to_string(made.cents)});
                }
                session_.run("COMMIT");
            }
            return count_;
        });
    }

    Measured handle(const std::string& table, const std::optional<Telemetry>& telemetry) {
        FeedBroker broker;
        SubscriptionHandler handler(
            "bank." + table, booking_handlers(table), random_, logger_, std::chrono::seconds(10),
            telemetry ? std::optional(HandlerTelemetry{*telemetry, "bank.payment"}) : std::nullopt);
        ConsumerOptions options;
        options.subscription = "bank." + table;
        options.topic = "bank.payment";
        options.member = "bench";
        options.batch_events_max = kBatch;
        options.crashes_max = 3;
        options.telemetry = telemetry ? &*telemetry : nullptr;
        auto consumer =
            must(Consumer::create(*database_, broker, handler, random_, logger_, options));
        broker.give(payment_events(next_[table], count_));
        next_[table] += count_;
        return rate_of(cpu_with(*server_), [&] {
            while (!broker.is_drained()) {
                must(consumer->run_once());
            }
            return count_;
        });
    }

    void check_sums() {
        for (const auto& [table, payments] : next_) {
            const std::string booked = session_.value(
                fmt::format("SELECT sum(cents) || ' ' || sum(payments) FROM {}", table));
            if (booked != fmt::format("{} {}", sum_of_payments(0, payments), payments)) {
                throw std::runtime_error(fmt::format("{} booked {}", table, booked));
            }
        }
    }

    std::uint64_t spans_counted(std::string_view what) {
        for (const MetricSample& sample : metrics_.snapshot()) {
            if (sample.name == fmt::format("instep_spans_{}_total", what)) {
                return static_cast<std::uint64_t>(sample.value);
            }
        }
        return 0;
    }

    const std::int64_t count_;
    SystemClock clock_;
    SystemRandom random_;
    MetricsRegistry metrics_;
    FileLogSink sink_{2};
    Logger logger_{sink_, clock_, {LogLevel::kError, LogFormat::kText}};
    std::unique_ptr<test::PostgresServer> server_;
    const std::string url_;
    Session session_;
    std::unique_ptr<Database> database_;
    Collector collector_;
    std::unique_ptr<OtlpExporter> spans_;

    /// The number of the next payment on each table.
    std::map<std::string, std::int64_t> next_;
};

}  // namespace

void run_dispatch_bench(const BenchSize& size) {
    const std::int64_t batches = std::max<std::int64_t>(size.rows.value_or(kEvents) / kBatch, 1);
    DispatchBench bench(batches * kBatch);
    bench.run(size.rounds.value_or(5));
}

}  // namespace instep::bench
