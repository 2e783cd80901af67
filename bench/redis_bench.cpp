// The broker on Redis against the bare protocol: the same entries added, and read, by pipelined
// commands with nothing around them. And from the commit at an owner to the row in a replica.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "instep/broker/redis/broker.hpp"
#include "src/broker/redis/connection.hpp"
#include "src/broker/redis/message.hpp"
#include "tests/support/redis_server.hpp"

#include <fmt/format.h>

#include <fstream>
#include <unistd.h>

namespace instep::bench {

namespace {

constexpr std::int64_t kEvents = 100'000;
constexpr std::size_t kBatch = 4000;
constexpr std::size_t kPipeline = 250;
constexpr std::size_t kPipelines = 4;
constexpr std::string_view kTopic = "bench.member";

std::vector<Event> make_events(std::size_t count) {
    std::vector<Event> events(count);
    for (std::size_t i = 0; i < count; ++i) {
        Event& event = events[i];
        event.id = fmt::format("0190b2f4-1111-7222-8333-{:012}", i);
        event.source = "bench";
        event.type = "member.updated";
        event.key = std::to_string(i);
        event.time = Timestamp(std::chrono::microseconds(1'767'225'600'000'000 + i));
        event.version = {.epoch = 1, .batch = i + 1, .index = 0};
        event.incarnation = 77;
        event.operation = Operation::kUpsert;
        event.data =
            fmt::format(R"({{"id":{},"name":"{}","score":{}}})", i, std::string(150, 'x'), i * 7);
    }
    return events;
}

class RedisBench {
public:
    RedisBench(std::int64_t events, std::vector<std::string> settings)
        : count_(static_cast<std::size_t>(events)),
          server_({.settings = std::move(settings), .tls = false}),
          endpoint_(must(redis::parse_endpoint(server_.url()))),
          broker_(must(open_redis_broker(server_.url(), clock_, random_))),
          batch_(make_events(kBatch)) {
        redis::CommandWriter writer(pipeline_);
        AttributeViews views;
        for (std::size_t i = 0; i < kPipeline; ++i) {
            std::string fields;
            redis::CommandWriter field_writer(fields);
            const std::size_t arguments = redis::append_fields(batch_[i], views, field_writer);
            writer.begin(3 + arguments);
            writer.argument("XADD");
            writer.argument("bare");
            writer.argument("*");
            writer.append(fields);
        }
    }

    void run(std::string_view durability, int rounds) {
        const auto figures =
            measure({{"XADD, pipelined", [this] { return add_bare(); }},
                     {"publish", [this] { return publish(); }},
                     {"XREAD", [this] { return read_bare(Entries::kKept); }},
                     {"receive and acknowledge", [this] { return consume(); }},
                     {"XREAD, entries dropped", [this] { return read_bare(Entries::kDropped); }}},
                    rounds);
        fmt::print("Redis, {}: {} events of {} bytes of data\n", durability, count_,
                   batch_[0].data.size());
        for (const Figures& next : figures) {
            print(next, "events/s");
        }
        fmt::print(
            "  publish ratio {:.2f} (bar 0.60), consume ratio {:.2f} (bar 0.60); peak "
            "memory {:.0f} MiB\n",
            figures[1].median / figures[0].median, figures[3].median / figures[2].median,
            peak_memory_mib());
    }

private:
    [[nodiscard]] Measured rate(const std::function<void()>& work) const {
        return rate_of([this] { return cpu_time() + server_cpu(); },
                       [&] {
                           work();
                           return static_cast<std::int64_t>(count_);
                       });
    }

    [[nodiscard]] Seconds server_cpu() const {
        std::ifstream file(fmt::format("/proc/{}/stat", server_.id()));
        std::string word;
        double ticks = 0;
        for (int field = 1; file >> word && field <= 15; ++field) {
            ticks += field >= 14 ? std::stod(word) : 0;
        }
        return Seconds(ticks / static_cast<double>(sysconf(_SC_CLK_TCK)));
    }

    Measured add_bare() {
        const auto connection = must(redis::Connection::open(endpoint_));
        must(connection->call({"DEL", "bare"}));
        return rate([&] {
            std::size_t under_way = 0;
            const auto take = [&] {
                for (std::size_t i = 0; i < kPipeline; ++i) {
                    must(connection->next_token());
                }
                --under_way;
            };
            for (std::size_t sent = 0; sent < count_; sent += kPipeline) {
                connection->write().append(pipeline_);
                must(connection->send());
                if (++under_way == kPipelines) {
                    take();
                }
            }
            while (under_way > 0) {
                take();
            }
        });
    }

    Measured publish() {
        const auto connection = must(redis::Connection::open(endpoint_));
        must(connection->call({"FLUSHDB"}));
        const auto publisher = must(broker_->publisher());
        must(publisher->declare_topic(kTopic, 1));
        return rate([&] {
            for (std::size_t sent = 0; sent < count_; sent += kBatch) {
                const auto outcome =
                    publisher->publish({.topic = kTopic, .partition = 0, .events = batch_});
                if (outcome.failure) {
                    throw std::runtime_error(outcome.failure->message);
                }
            }
        });
    }

    enum class Entries : std::uint8_t { kKept, kDropped };

    /// What publish() has left, by XREAD of 1000 at a time, each answered for by an XGROUP SETID
    /// that goes with the next. Kept entries are texts of their own until the next 1000 come, as
    /// client libraries hand them over; dropped ones are only taken apart into tokens.
    Measured read_bare(Entries entries) {
        const auto connection = must(redis::Connection::open(endpoint_));
        const std::string stream = "instep:{bench.member}:0";
        connection->write().command({"XGROUP", "CREATE", stream, "bare", "0"});
        std::string last = "0";
        std::vector<std::vector<std::pair<std::string, std::string>>> kept;
        const Measured measured = rate([&] {
            for (std::size_t seen = 0; seen < count_;) {
                connection->write().command({"XREAD", "COUNT", "1000", "STREAMS", stream, last});
                must(connection->send());
                must(connection->next_token());
                must(connection->next_token());
                must(connection->next_token());
                const auto count = must(connection->next_token()).number;
                kept.clear();
                for (std::int64_t i = 0; i < count; ++i) {
                    must(connection->next_token());
                    last = must(connection->next_token()).text;
                    read_fields(*connection,
                                entries == Entries::kKept ? &kept.emplace_back() : nullptr);
                }
                seen += static_cast<std::size_t>(count);
                connection->write().command({"XGROUP", "SETID", stream, "bare", last});
            }
            must(connection->send());
            must(connection->next_token());
        });
        must(connection->call({"XGROUP", "DESTROY", stream, "bare"}));
        return measured;
    }

    static void read_fields(redis::Connection& connection,
                            std::vector<std::pair<std::string, std::string>>* kept) {
        const auto texts = must(connection.next_token()).number;
        if (kept == nullptr) {
            for (std::int64_t text = 0; text < texts; ++text) {
                must(connection.next_token());
            }
            return;
        }
        kept->resize(static_cast<std::size_t>(texts / 2));
        for (auto& [name, value] : *kept) {
            name = must(connection.next_token()).text;
            value = must(connection.next_token()).text;
        }
    }

    Measured consume() {
        const auto subscriber =
            must(broker_->subscribe({.subscription = "bench",
                                     .topic = std::string(kTopic),
                                     .member = "one",
                                     .start_at = StartAt::kEarliest,
                                     .member_timeout = std::chrono::seconds(10)}));
        must(subscriber->assignments());
        return rate([&] {
            for (std::size_t seen = 0; seen < count_;) {
                const auto deliveries = must(subscriber->receive(1000, 4 << 20));
                if (deliveries.empty()) {
                    subscriber->wait({}, std::chrono::seconds(1));
                    continue;
                }
                seen += deliveries.size();
                must(subscriber->acknowledge(0, deliveries.back().position));
            }
        });
    }

    const std::size_t count_;
    SystemClock clock_;
    SystemRandom random_;
    test::RedisServer server_;
    const redis::Endpoint endpoint_;
    std::unique_ptr<Broker> broker_;
    const std::vector<Event> batch_;
    std::string pipeline_;
};

}  // namespace

void run_redis_bench(const BenchSize& size) {
    const std::int64_t events = size.rows.value_or(kEvents) / kBatch * kBatch;
    RedisBench(events, {}).run("appendfsync everysec", size.rounds.value_or(5));
    RedisBench(events, {"appendfsync always"}).run("appendfsync always", size.rounds.value_or(5));
}

void run_redis_latency_bench(const BenchSize& size) {
    const test::RedisServer server;
    measure_sync_latency("Redis", server.url(), size);
}

void run_redis_sync_bench(const BenchSize& size) {
    const test::RedisServer server;
    measure_sync("Redis", server.url(), size);
}

}  // namespace instep::bench
