// RabbitMQ: publishing and consuming by our backend against librabbitmq alone, with the same
// queue, confirms and windows.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "instep/broker/rabbitmq/broker.hpp"
#include "src/broker/rabbitmq/message.hpp"
#include "tests/support/rabbitmq_server.hpp"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <fmt/format.h>

#include <string>
#include <vector>

namespace instep::bench {

namespace {

constexpr std::int64_t kEvents = 100'000;
/// A page of the relay.
constexpr std::int64_t kBatch = 4000;
constexpr std::int64_t kWindow = 1000;

const std::string kData =
    R"({"id":"0192d3a4-7b1e-7c3d-9f00-1a2b3c4d5e6f","username":"ada.lovelace","first_name":"Ada",)"
    R"("last_name":"Lovelace","email":"ada.lovelace@example.org","department_id":17,)"
    R"("position":"engineer","is_active":true,"updated_at":"2026-03-01T09:30:00.000000Z"})";

amqp_bytes_t bytes(std::string_view text) { return {text.size(), const_cast<char*>(text.data())}; }

/// librabbitmq as its own documentation uses it.
class BareClient {
public:
    explicit BareClient(int port) : state_(amqp_new_connection()) {
        amqp_socket_open(amqp_tcp_socket_new(state_), "127.0.0.1", port);
        amqp_login(state_, "/", 0, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN, "guest",
                   "guest");
        amqp_channel_open(state_, 1);
        check("channel");
    }
    BareClient(const BareClient&) = delete;
    BareClient& operator=(const BareClient&) = delete;
    ~BareClient() { amqp_destroy_connection(state_); }

    void declare_queue(const std::string& name) {
        amqp_table_entry_t type{};
        type.key = amqp_cstring_bytes("x-queue-type");
        type.value.kind = AMQP_FIELD_KIND_UTF8;
        type.value.value.bytes = amqp_cstring_bytes("quorum");
        amqp_queue_declare(state_, 1, bytes(name), 0, 1, 0, 0, {1, &type});
        check("queue");
    }

    /// The properties and headers of our messages, made once, straight into the queue.
    void publish(const std::string& queue, const std::vector<Event>& events) {
        amqp_confirm_select(state_, 1);
        check("confirms");
        rabbitmq::Envelope envelope;
        amqp_basic_properties_t properties = envelope.properties(events.front());
        const auto count = static_cast<std::int64_t>(events.size());
        std::int64_t confirmed = 0;
        for (std::int64_t sent = 0; sent < count; ++sent) {
            const Event& event = events[static_cast<std::size_t>(sent)];
            properties.message_id = bytes(event.id);
            amqp_basic_publish(state_, 1, amqp_empty_bytes, bytes(queue), 1, 0, &properties,
                               bytes(event.data));
            while (sent + 1 - confirmed >= kWindow) {
                take_confirm(confirmed);
            }
        }
        while (confirmed < count) {
            take_confirm(confirmed);
        }
    }

    void consume(const std::string& queue, std::int64_t count) {
        amqp_basic_qos(state_, 1, 0, kWindow, 0);
        amqp_basic_consume(state_, 1, bytes(queue), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
        check("consume");
        for (std::int64_t taken = 1; taken <= count; ++taken) {
            amqp_maybe_release_buffers(state_);
            amqp_envelope_t envelope;
            if (amqp_consume_message(state_, &envelope, nullptr, 0).reply_type !=
                AMQP_RESPONSE_NORMAL) {
                throw std::runtime_error("the bare consumer lost its connection");
            }
            if (taken % (kWindow / 2) == 0 || taken == count) {
                amqp_basic_ack(state_, 1, envelope.delivery_tag, 1);
            }
            amqp_destroy_envelope(&envelope);
        }
    }

private:
    void take_confirm(std::int64_t& confirmed) {
        amqp_method_t method;
        if (amqp_simple_wait_method(state_, 1, AMQP_BASIC_ACK_METHOD, &method) != AMQP_STATUS_OK) {
            throw std::runtime_error("the bare publisher got no confirm");
        }
        const auto& ack = *static_cast<amqp_basic_ack_t*>(method.decoded);
        confirmed = ack.multiple != 0 ? static_cast<std::int64_t>(ack.delivery_tag) : confirmed + 1;
        amqp_maybe_release_buffers(state_);
    }

    void check(std::string_view what) {
        if (amqp_get_rpc_reply(state_).reply_type != AMQP_RESPONSE_NORMAL) {
            throw std::runtime_error(fmt::format("RabbitMQ refused: {}", what));
        }
    }

    amqp_connection_state_t state_;
};

std::vector<Event> make_events(std::int64_t count, Timestamp now) {
    std::vector<Event> events(static_cast<std::size_t>(count));
    std::uint64_t number = 0;
    for (Event& event : events) {
        event.id = fmt::format("0192d3a4-7b1e-7c3d-9f00-{:012x}", ++number);
        event.source = "iam";
        event.type = "user.updated";
        event.key = std::to_string(number % 1000);
        event.time = now;
        event.version = {.epoch = 1, .batch = number, .index = 0};
        event.incarnation = 77;
        event.operation = Operation::kUpsert;
        event.data = kData;
    }
    return events;
}

/// A topic of its own each round, with one subscription.
class OwnRound {
public:
    OwnRound(const std::string& url, int round)
        : topic_(fmt::format("round{}", round)),
          broker_(must(open_rabbitmq_broker(url, clock_, random_))),
          publisher_(must(broker_->publisher())) {
        must(publisher_->declare_topic(topic_, 1));
        subscriber_ = must(broker_->subscribe(
            {.subscription = topic_ + ".reader", .topic = topic_, .member = "bench"}));
    }

    void publish(const std::vector<Event>& events) {
        for (std::size_t at = 0; at < events.size(); at += kBatch) {
            const auto batch =
                std::span(events).subspan(at, std::min<std::size_t>(kBatch, events.size() - at));
            const auto outcome = publisher_->publish(
                {.topic = topic_, .partition = 0, .events = batch, .fencing_epoch = 0});
            if (outcome.failure) {
                throw std::runtime_error(outcome.failure->message);
            }
        }
    }

    void consume(std::int64_t count) {
        for (std::int64_t taken = 0; taken < count;) {
            must(subscriber_->assignments());
            const auto deliveries = must(subscriber_->receive(kBatch, 8U << 20U));
            if (deliveries.empty()) {
                subscriber_->wait({}, std::chrono::milliseconds(100));
                continue;
            }
            taken += static_cast<std::int64_t>(deliveries.size());
            must(subscriber_->acknowledge(0, deliveries.back().position));
        }
    }

private:
    SystemClock clock_;
    SystemRandom random_;
    const std::string topic_;
    std::unique_ptr<Broker> broker_;
    std::unique_ptr<Publisher> publisher_;
    std::unique_ptr<Subscriber> subscriber_;
};

}  // namespace

void run_rabbitmq_bench(const BenchSize& size) {
    const std::int64_t count = size.rows.value_or(kEvents);
    const test::RabbitmqServer server;
    SystemClock clock;
    const auto events = make_events(count, clock.now());
    // Each round publishes into a queue of its own and then empties it.
    int rounds_made = 0;
    std::vector<double> publish_ratios;
    std::vector<double> consume_ratios;
    for (int round = 0; round < size.rounds.value_or(5); ++round) {
        const std::string queue = fmt::format("bare{}", ++rounds_made);
        BareClient bare(server.port());
        bare.declare_queue(queue);
        const Seconds bare_publish = time_of([&] { bare.publish(queue, events); });
        OwnRound own(server.url(), rounds_made);
        const Seconds own_publish = time_of([&] { own.publish(events); });
        BareClient bare_consumer(server.port());
        const Seconds bare_consume = time_of([&] { bare_consumer.consume(queue, count); });
        const Seconds own_consume = time_of([&] { own.consume(count); });
        const auto rate = [count](Seconds time) {
            return static_cast<double>(count) / time.count();
        };
        fmt::print(
            "RabbitMQ, {} events of {} bytes: publish {:.0f}/s of {:.0f}/s, consume {:.0f}/s of "
            "{:.0f}/s\n",
            count, kData.size(), rate(own_publish), rate(bare_publish), rate(own_consume),
            rate(bare_consume));
        publish_ratios.push_back(bare_publish / own_publish);
        consume_ratios.push_back(bare_consume / own_consume);
    }
    fmt::print("  ratio to librabbitmq alone: publish {:.2f}, consume {:.2f} (bar 0.60)\n",
               median_of(publish_ratios), median_of(consume_ratios));
}

void run_rabbitmq_latency_bench(const BenchSize& size) {
    const test::RabbitmqServer server;
    measure_sync_latency("RabbitMQ", server.url(), size);
}

void run_rabbitmq_sync_bench(const BenchSize& size) {
    const test::RabbitmqServer server;
    measure_sync("RabbitMQ", server.url(), size);
}

}  // namespace instep::bench
