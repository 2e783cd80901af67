#include "tests/storm/worker.hpp"

#include "instep/concurrency/idle_policy.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/relay/relay.hpp"
#include "instep/service/service.hpp"
#include "instep/telemetry/log_sink.hpp"
#include "instep/telemetry/logger.hpp"

#include <fmt/core.h>

#include <condition_variable>
#include <cstdio>
#include <unistd.h>
#include <vector>

namespace instep::storm {

namespace {

using namespace std::chrono_literals;

constexpr auto kShort = 1000ms;
constexpr auto kPause = 5ms;

/// The effect: one row more in the order in which they came. Nothing in the table stops a repeat.
Verdict append_effect(Transaction& transaction, const Event& event) {
    const auto added = transaction.execute("INSERT INTO effects (key, number) VALUES ($1, $2)",
                                           {std::string_view(event.key), std::stoll(event.data)});
    return added ? Verdict::done() : Verdict::retry(added.error().message);
}

/// What a consumer is without an inbox.
class Forgetful final : public Handler {
public:
    Result<ApplyCounts> apply(Transaction& transaction,
                              std::span<const Event* const> events) override {
        for (const Event* event : events) {
            std::ignore = append_effect(transaction, *event);
        }
        return ApplyCounts{.applied = events.size()};
    }
};

/// Until the process is killed; what fails is tried again.
void work_forever(const std::function<Result<std::uint64_t>()>& step,
                  const std::function<void()>& wait) {
    std::string last;
    for (;;) {
        const auto done = step();
        if (!done && done.error().message != last) {
            last = done.error().message;
            fmt::print(stderr, "{}\n", last);
        }
        if (!done || *done == 0) {
            wait();
        }
    }
}

void pause_briefly() {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable nobody;
    nobody.wait_for(lock, kPause);
}

template <class Make>
auto until_made(const Make& make) {
    for (;;) {
        auto made = make();
        if (made) {
            return std::move(*made);
        }
        fmt::print(stderr, "{}\n", made.error().message);
        pause_briefly();
    }
}

void say_ready() {
    fmt::print("ready\n");
    std::fflush(stdout);
}

void relay_forever(const WorkerOptions& options, std::uint32_t partitions, Database& database,
                   Broker& broker, Logger& logger) {
    std::vector<std::unique_ptr<Relay>> relays;
    for (std::uint32_t index = 0; index < partitions; ++index) {
        RelayOptions relay;
        relay.service = kService;
        relay.owner = options.member;
        relay.partition = {index, partitions};
        relay.topics = {std::string(kTopic)};
        relay.batch_events_max = 100;
        relay.lease_duration = kShort;
        relays.push_back(
            until_made([&] { return Relay::create(database, broker, nullptr, logger, relay); }));
    }
    say_ready();
    work_forever(
        [&]() -> Result<std::uint64_t> {
            std::uint64_t moved = 0;
            std::optional<Error> failure;
            for (const auto& relay : relays) {
                const auto done = relay->run_once();
                if (done) {
                    moved += *done;
                } else {
                    failure = done.error();
                }
            }
            if (failure) {
                return std::unexpected(*failure);
            }
            return moved;
        },
        pause_briefly);
}

void consume_forever(const WorkerOptions& options, bool forgetful, Database& database,
                     Broker& broker, Random& random, Logger& logger) {
    Forgetful careless;
    InboxHandler careful(options.subscription, append_effect, logger);
    ConsumerOptions consumer;
    consumer.subscription = options.subscription;
    consumer.topic = kTopic;
    consumer.member = options.member;
    consumer.batch_events_max = 100;
    consumer.member_timeout = kShort;
    consumer.parked_backoff.initial = 20ms;
    Handler& handler = forgetful ? static_cast<Handler&>(careless) : careful;
    const auto running = until_made(
        [&] { return Consumer::create(database, broker, handler, random, logger, consumer); });
    say_ready();
    work_forever([&] { return running->run_once(); }, [&] { running->wait({}, 50ms); });
}

}  // namespace

int run_worker(const WorkerOptions& options, std::uint32_t partitions, bool forgetful) {
    const SystemClock clock;
    SystemRandom random;
    FileLogSink sink(STDERR_FILENO);
    Logger logger(sink, clock, {.level = LogLevel::kWarn});
    const auto database = open_database(options.database, clock);
    if (!database) {
        fmt::print(stderr, "{}\n", database.error().message);
        return 1;
    }
    Brokers brokers(clock);
    Broker* const broker = until_made([&] { return brokers.open(options.broker); });
    if (options.role == Role::kRelay) {
        relay_forever(options, partitions, **database, *broker, logger);
    } else {
        consume_forever(options, forgetful, **database, *broker, random, logger);
    }
    return 1;
}

}  // namespace instep::storm
