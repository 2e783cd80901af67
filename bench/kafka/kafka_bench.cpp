// Publishing and receiving on Kafka against what the client library itself does with the same
// bytes, durability and server, in the same run; and the way from a commit to a replica.
#include "bench/comparison.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "instep/broker/kafka/broker.hpp"
#include "instep/event/cloudevents.hpp"
#include "tests/support/kafka_server.hpp"

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>

#include <array>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace instep::bench {

namespace {

/// A page of the relay.
constexpr std::size_t kPage = 4000;

/// What a consumer takes and commits at once.
constexpr std::size_t kBatch = 1000;

constexpr std::size_t kDataBytes = 300;
constexpr int kTimeoutMs = 30'000;

std::vector<Event> make_events() {
    std::vector<Event> events(kPage);
    for (std::size_t i = 0; i < kPage; ++i) {
        Event& event = events[i];
        event.id = fmt::format("0190d3f0-0000-7000-8000-{:012}", i);
        event.source = "iam";
        event.type = "user.updated";
        event.key = fmt::format("user-{}", i);
        event.time = Timestamp(std::chrono::microseconds(1'700'000'000'000'000));
        event.version = {.epoch = 1, .batch = i + 1, .index = 0};
        event.incarnation = 77;
        event.operation = Operation::kUpsert;
        event.data = std::string(kDataBytes, 'x');
    }
    return events;
}

rd_kafka_t* make_client(rd_kafka_type_t type, const test::KafkaServer& server,
                        const std::vector<std::pair<std::string, std::string>>& settings) {
    std::array<char, 512> text{};
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    const std::string servers = fmt::format("127.0.0.1:{}", server.port());
    rd_kafka_conf_set(conf, "bootstrap.servers", servers.c_str(), text.data(), text.size());
    for (const auto& [name, value] : settings) {
        if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text.data(), text.size()) !=
            RD_KAFKA_CONF_OK) {
            throw std::runtime_error(text.data());
        }
    }
    rd_kafka_t* client = rd_kafka_new(type, conf, text.data(), text.size());
    if (client == nullptr) {
        throw std::runtime_error(text.data());
    }
    return client;
}

/// The bytes of our messages, without the work of making them.
class BareMessages {
public:
    explicit BareMessages(const std::vector<Event>& events) : events_(events) {
        for (const Event& event : events) {
            auto& headers = headers_.emplace_back();
            for (const auto& [name, value] : to_attributes(event)) {
                const bool is_type = name == "datacontenttype";
                headers.emplace_back(is_type ? "content-type" : "ce_" + name, value);
            }
        }
    }

    bool produce(rd_kafka_t* producer, rd_kafka_topic_t* topic, std::size_t i) const {
        const Event& event = events_[i];
        rd_kafka_headers_t* headers = rd_kafka_headers_new(headers_[i].size());
        for (const auto& [name, value] : headers_[i]) {
            rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()),
                                value.data(), static_cast<ssize_t>(value.size()));
        }
        std::array<rd_kafka_vu_t, 6> values{};
        values[0].vtype = RD_KAFKA_VTYPE_RKT;
        values[0].u.rkt = topic;
        values[1].vtype = RD_KAFKA_VTYPE_PARTITION;
        values[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
        values[2].u.i = RD_KAFKA_MSG_F_COPY;
        values[3].vtype = RD_KAFKA_VTYPE_VALUE;
        values[3].u.mem = {const_cast<char*>(event.data.data()), event.data.size()};
        values[4].vtype = RD_KAFKA_VTYPE_KEY;
        values[4].u.mem = {const_cast<char*>(event.key.data()), event.key.size()};
        values[5].vtype = RD_KAFKA_VTYPE_HEADERS;
        values[5].u.headers = headers;
        rd_kafka_error_t* refused = rd_kafka_produceva(producer, values.data(), values.size());
        if (refused == nullptr) {
            return true;
        }
        rd_kafka_error_destroy(refused);
        rd_kafka_headers_destroy(headers);
        return false;
    }

    [[nodiscard]] std::size_t bytes() const {
        std::size_t bytes = events_[0].data.size() + events_[0].key.size();
        for (const auto& [name, value] : headers_[0]) {
            bytes += name.size() + value.size() + 2;
        }
        return bytes;
    }

private:
    const std::vector<Event>& events_;
    std::vector<std::vector<Attribute>> headers_;
};

enum class Waits : std::uint8_t { kOnlyAtTheEnd, kForEveryPage };

std::int64_t publish_bare(rd_kafka_t* producer, const BareMessages& messages, std::size_t pages,
                          Waits waits) {
    rd_kafka_topic_t* topic = rd_kafka_topic_new(producer, "bench.bare", nullptr);
    const auto wait = [&] {
        if (rd_kafka_flush(producer, kTimeoutMs) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            throw std::runtime_error("the library's messages are not confirmed");
        }
    };
    for (std::size_t page = 0; page < pages; ++page) {
        for (std::size_t i = 0; i < kPage; ++i) {
            while (!messages.produce(producer, topic, i)) {
                rd_kafka_poll(producer, 10);
            }
        }
        rd_kafka_poll(producer, 0);
        if (waits == Waits::kForEveryPage) {
            wait();
        }
    }
    wait();
    rd_kafka_topic_destroy(topic);
    return static_cast<std::int64_t>(pages * kPage);
}

std::int64_t publish_ours(Publisher& publisher, const std::string& topic, std::size_t pages,
                          const std::vector<Event>& events) {
    for (std::size_t i = 0; i < pages; ++i) {
        const auto outcome = publisher.publish({.topic = topic, .partition = 0, .events = events});
        if (outcome.failure) {
            throw std::runtime_error(outcome.failure->message);
        }
    }
    return static_cast<std::int64_t>(pages * kPage);
}

enum class Commits : std::uint8_t { kNone, kEveryBatch };

/// From the first message on, since joining a group takes a moment that has nothing to do with
/// the rate.
Measured receive_bare(const test::KafkaServer& server, const std::string& topic, std::size_t count,
                      Commits commits) {
    rd_kafka_t* consumer = make_client(RD_KAFKA_CONSUMER, server,
                                       {{"group.id", "bare"}, {"enable.auto.commit", "false"}});
    rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic.c_str(), 0)->offset = 0;
    rd_kafka_assign(consumer, list);
    rd_kafka_queue_t* queue = rd_kafka_queue_get_consumer(consumer);
    std::array<rd_kafka_message_t*, kBatch> messages{};
    std::size_t received = 0;
    const Seconds cpu = cpu_time();
    auto start = std::chrono::steady_clock::now();
    while (received < count) {
        const auto got = rd_kafka_consume_batch_queue(queue, 100, messages.data(), kBatch);
        start = received == 0 ? std::chrono::steady_clock::now() : start;
        if (commits == Commits::kEveryBatch && got > 0) {
            list->elems[0].offset = messages[static_cast<std::size_t>(got - 1)]->offset + 1;
            rd_kafka_commit(consumer, list, 0);
        }
        for (ssize_t i = 0; i < got; ++i) {
            rd_kafka_message_destroy(messages[static_cast<std::size_t>(i)]);
        }
        received += static_cast<std::size_t>(got);
    }
    const Seconds time = std::chrono::steady_clock::now() - start;
    const Seconds used = cpu_time() - cpu;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(consumer);
    const auto messages_received = static_cast<double>(received);
    return {messages_received / time.count(), used.count() * 1e6 / messages_received};
}

Measured receive_ours(Broker& broker, const std::string& topic, std::size_t count, int round) {
    const auto subscriber = must(broker.subscribe(
        {.subscription = fmt::format("ours{}", round), .topic = topic, .member = "bench"}));
    std::size_t received = 0;
    const Seconds cpu = cpu_time();
    auto start = std::chrono::steady_clock::now();
    while (received < count) {
        must(subscriber->assignments());
        const auto deliveries = must(subscriber->receive(kBatch, 4U << 20U));
        if (deliveries.empty()) {
            subscriber->wait({}, std::chrono::milliseconds(100));
            continue;
        }
        start = received == 0 ? std::chrono::steady_clock::now() : start;
        received += deliveries.size();
        must(subscriber->acknowledge(0, deliveries.back().position));
    }
    const Seconds time = std::chrono::steady_clock::now() - start;
    const Seconds used = cpu_time() - cpu;
    const auto events_received = static_cast<double>(received);
    return {events_received / time.count(), used.count() * 1e6 / events_received};
}

/// The first is the limit, the second ours, a third another limit.
void print_ratio(const char* what, const std::vector<Figures>& figures) {
    for (const Figures& each : figures) {
        print(each, "events/s");
    }
    fmt::print("  {} ratio: {:.2f} (bar 0.6)\n", what, figures[1].median / figures[0].median);
    if (figures.size() > 2) {
        fmt::print("  {} ratio to {}: {:.2f}\n", what, figures[2].name,
                   figures[1].median / figures[2].median);
    }
}

}  // namespace

void run_kafka_bench(const BenchSize& size) {
    const test::KafkaServer server;
    const auto broker = must(open_kafka_broker(server.url()));
    const auto publisher = must(broker->publisher());
    must(publisher->declare_topic("bench.bare", 1));
    must(publisher->declare_topic("bench.ours", 1));
    const auto events = make_events();
    const BareMessages bare(events);
    const auto pages = static_cast<std::size_t>(size.rows.value_or(100'000)) / kPage;
    const int rounds = size.rounds.value_or(3);
    rd_kafka_t* producer = make_client(RD_KAFKA_PRODUCER, server,
                                       {{"acks", "all"},
                                        {"enable.idempotence", "true"},
                                        {"linger.ms", "5"},
                                        {"queue.buffering.max.kbytes", "65536"}});
    fmt::print("Kafka, events of {} bytes on the wire, {} a round\n", bare.bytes(), pages * kPage);
    publish_bare(producer, bare, 2, Waits::kOnlyAtTheEnd);
    publish_ours(*publisher, "bench.ours", 2, events);
    const auto rate = [](const std::function<std::int64_t()>& work) {
        return rate_of(cpu_time, work);
    };
    print_ratio("publish",
                measure({{"library alone, pipelined",
                          [&] {
                              return rate([&] {
                                  return publish_bare(producer, bare, pages, Waits::kOnlyAtTheEnd);
                              });
                          }},
                         {"publish() of 4000 at a time",
                          [&] {
                              return rate([&] {
                                  return publish_ours(*publisher, "bench.ours", pages, events);
                              });
                          }},
                         {"the library that waits for every 4000",
                          [&] {
                              return rate([&] {
                                  return publish_bare(producer, bare, pages, Waits::kForEveryPage);
                              });
                          }}},
                        rounds));
    const std::size_t count = pages * kPage * static_cast<std::size_t>(rounds);
    int round = 0;
    print_ratio(
        "consume",
        measure({{"library alone, committing every 1000",
                  [&] { return receive_bare(server, "bench.ours", count, Commits::kEveryBatch); }},
                 {"receive() and acknowledge() of 1000 at a time",
                  [&] { return receive_ours(*broker, "bench.ours", count, ++round); }},
                 {"the library that commits nothing",
                  [&] { return receive_bare(server, "bench.ours", count, Commits::kNone); }}},
                rounds));
    rd_kafka_destroy(producer);
    fmt::print("  peak memory {:.0f} MiB\n", peak_memory_mib());
}

void run_kafka_latency_bench(const BenchSize& size) {
    const test::KafkaServer server;
    measure_sync_latency("Kafka", server.url(), size);
}

void run_kafka_sync_bench(const BenchSize& size) {
    const test::KafkaServer server;
    measure_sync("Kafka", server.url(), size);
}

}  // namespace instep::bench
