// What keys that fail cost those that do not.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/handlers/benchmarks.hpp"
#include "bench/handlers/feed_broker.hpp"
#include "bench/handlers/payments.hpp"
#include "bench/postgres/log_rows.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/db/postgres/database.hpp"

#include <fmt/format.h>

namespace instep::bench {

namespace {

constexpr std::int64_t kEvents = 60'000;
constexpr std::int64_t kParked = 10'000;

/// Numbers that no payment to an account has.
constexpr std::int64_t kElsewhere = 1'000'000'000;

/// Ten thousand refusals are ten thousand lines, which are written but read by nobody here.
class NoLines final : public LogSink {
public:
    void write(std::string_view /*line*/) override {}
};

/// A consumer with a database of its own, since what is parked stays.
class Booking {
public:
    Booking(const test::PostgresServer& server, const std::string& name, std::uint32_t attempts)
        : url_(make_database(server, name)),
          session_(url_),
          database_(must(open_postgres(url_, clock_))),
          handler_("bank.accounts", handlers(), random_, logger_) {
        make_service_tables(*database_);
        make_accounts(session_, "accounts");
        ConsumerOptions options;
        options.subscription = "bank.accounts";
        options.topic = "bank.payment";
        options.member = "bench";
        options.attempts_max = attempts;
        options.parked_backoff.initial = std::chrono::seconds(1);
        options.parked_backoff.max = std::chrono::seconds(300);
        options.crashes_max = 3;
        consumer_ =
            must(Consumer::create(*database_, broker_, handler_, random_, logger_, options));
    }

    /// Takes events that are refused, one of each of so many keys. Returns how long that took.
    Seconds park(std::int64_t keys) {
        std::vector<Event> events = payment_events(kElsewhere, keys);
        for (std::int64_t i = 0; i < keys; ++i) {
            Event& event = events[static_cast<std::size_t>(i)];
            event.id = fmt::format("refused-{}", i);
            event.key = fmt::format("closed-{}", i);
            event.version.batch = static_cast<std::uint64_t>(i) + 1;
            event.data = to_payload(PaymentMade{event.key, 1});
        }
        broker_.give(std::move(events));
        const Seconds time = time_of([this] { drain(); });
        if (parked() != keys) {
            throw std::runtime_error(fmt::format("{} keys are parked, not {}", parked(), keys));
        }
        session_.run("VACUUM ANALYZE");
        return time;
    }

    Measured book(const test::PostgresServer& server, std::int64_t count) {
        broker_.give(payment_events(next_, count));
        next_ += count;
        return rate_of(cpu_with(server), [&] {
            drain();
            return count;
        });
    }

    void check() {
        const std::string booked = session_.value("SELECT sum(cents) FROM accounts");
        if (booked != std::to_string(sum_of_payments(0, next_))) {
            throw std::runtime_error("accounts hold " + booked);
        }
    }

    [[nodiscard]] std::int64_t parked() {
        return std::stoll(session_.value("SELECT count(*) FROM instep.parked_key"));
    }

    [[nodiscard]] std::int64_t attempts() {
        return std::stoll(
            session_.value("SELECT coalesce(sum(attempts), 0) "
                           "FROM instep.parked_key"));
    }

private:
    static HandlerSet handlers() {
        HandlerSet set;
        set.on<PaymentMade>([sql = booking_sql("accounts")](HandlerContext& context,
                                                            const PaymentMade& made) {
            const auto booked =
                context.transaction().execute(sql, {std::string_view(made.account), made.cents});
            return booked && *booked == 1 ? Verdict::done()
                                          : Verdict::retry("the account is closed");
        });
        return set;
    }

    void drain() {
        while (!broker_.is_drained()) {
            must(consumer_->run_once());
        }
    }

    SystemClock clock_;
    SystemRandom random_;
    NoLines sink_;
    Logger logger_{sink_, clock_};
    const std::string url_;
    Session session_;
    std::unique_ptr<Database> database_;
    FeedBroker broker_;
    SubscriptionHandler handler_;
    std::unique_ptr<Consumer> consumer_;
    std::int64_t next_ = 0;
};

}  // namespace

void run_parking_bench(const BenchSize& size) {
    const std::int64_t events = size.rows.value_or(kEvents);
    const auto server = start_server({"autovacuum = off"});
    Booking none(*server, "none", 10);
    Booking tried(*server, "tried", 10);
    Booking dead(*server, "dead", 1);
    const Seconds time = tried.park(kParked);
    dead.park(kParked);
    const std::int64_t attempts_before = tried.attempts();
    const std::vector<Contender> contenders = {
        {"no key parked", [&] { return none.book(*server, events); }},
        {"10,000 keys parked and tried again after 1, 2, 4 s …",
         [&] { return tried.book(*server, events); }},
        {"10,000 dead letters", [&] { return dead.book(*server, events); }}};
    const auto figures = measure(contenders, size.rounds.value_or(5));
    for (Booking* const booking : {&none, &tried, &dead}) {
        booking->check();
    }
    fmt::print("Parking {} keys took {:.1f} s, {:.0f} µs each; then {} events of other keys\n",
               kParked, time.count(), time.count() * 1e6 / static_cast<double>(kParked), events);
    for (const Figures& next : figures) {
        print(next, "events/s");
    }
    fmt::print(
        "  keys that are tried again cost {:.1f} % ({} attempts meanwhile), dead letters {:.1f} % "
        "(bar 10 %)\n",
        100 * (1 - figures[1].median / figures[0].median), tried.attempts() - attempts_before,
        100 * (1 - figures[2].median / figures[0].median));
}

}  // namespace instep::bench
