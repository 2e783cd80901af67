#include "publisher.hpp"

#include "instep/broker/checks.hpp"
#include "instep/broker/kafka/broker.hpp"
#include "message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

namespace instep::kafka_broker {

namespace {

/// Attributes and data of the largest valid event, and what Kafka puts around them.
constexpr std::size_t kMessageBytesMax = kEventDataBytesMax + (1U << 20U);

/// What is looked at first in the search for the last event, and by what the search grows.
constexpr std::int64_t kTailMessages = 16;
constexpr std::int64_t kTailGrowth = 16;

bool refuses_event(const std::optional<Error>& failure) {
    return failure &&
           (failure->code == ErrorCode::kLimitExceeded || failure->code == ErrorCode::kRejected);
}

rd_kafka_vu_t memory(rd_kafka_vtype_t type, std::string_view bytes) {
    rd_kafka_vu_t value{};
    value.vtype = type;
    // Taken as it is and copied; the library's interface knows no const.
    value.u.mem.ptr = const_cast<char*>(bytes.data());
    value.u.mem.size = bytes.size();
    return value;
}

}  // namespace

/// A client that keeps the order: nothing is sent behind a message that failed, so what the
/// server has is a prefix at all times.
class KafkaPublisher::Producer final : public Listener {
public:
    static Result<std::unique_ptr<Producer>> create(const Cluster& cluster, Batching batching) {
        auto producer = std::make_unique<Producer>();
        Properties own = {{"acks", "all"},
                          {"enable.idempotence", "true"},
                          {"enable.gapless.guarantee", "true"},
                          {"max.in.flight.requests.per.connection", "5"},
                          // publish() knows when to give up.
                          {"message.timeout.ms", "0"},
                          {"topic.metadata.propagation.max.ms", "3000"},
                          {"retry.backoff.ms", "50"},
                          {"linger.ms", "5"},
                          {"message.max.bytes", std::to_string(kMessageBytesMax)},
                          {"queue.buffering.max.kbytes", "65536"}};
        if (batching == Batching::kOff) {
            own.emplace_back("batch.num.messages", "1");
        }
        INSTEP_TRY_ASSIGN(producer->client_,
                          make_client(RD_KAFKA_PRODUCER, cluster, own, *producer));
        return producer;
    }

    ~Producer() override {
        if (client_ != nullptr) {
            rd_kafka_purge(client_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        }
    }

    PublishOutcome publish(const PublishBatch& batch, std::chrono::milliseconds timeout) {
        forget_trouble();
        confirmed_ = 0;
        refused_.reset();
        const auto until = std::chrono::steady_clock::now() + timeout;
        const Topic topic(
            rd_kafka_topic_new(client_.get(), std::string(batch.topic).c_str(), nullptr));
        if (topic == nullptr) {
            return {.durable = 0, .failure = explain(rd_kafka_last_error()).error()};
        }
        rd_kafka_resp_err_t unsent = RD_KAFKA_RESP_ERR_NO_ERROR;
        std::size_t sent = 0;
        while (sent < batch.events.size() && is_hopeful(until)) {
            const auto error = send(*topic, batch.partition, batch.events[sent], sent);
            if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
                rd_kafka_poll(client_.get(), 10);
            } else if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
                unsent = error;
                break;
            } else {
                ++sent;
            }
        }
        while (confirmed_ < sent && is_hopeful(until)) {
            constexpr int kLook = 100;
            rd_kafka_flush(client_.get(), kLook);
        }
        if (trouble_code() == RD_KAFKA_RESP_ERR__FATAL && !refused_) {
            // The refusal that was fatal may be reported after the trouble.
            constexpr int kLastReports = 2000;
            rd_kafka_flush(client_.get(), kLastReports);
        }
        PublishOutcome outcome{.durable = confirmed_, .failure = {}};
        if (confirmed_ == batch.events.size()) {
            return outcome;
        }
        auto reason = RD_KAFKA_RESP_ERR__TIMED_OUT;
        if (refused_) {
            reason = *refused_;
        } else if (confirmed_ == sent && unsent != RD_KAFKA_RESP_ERR_NO_ERROR) {
            reason = unsent;
        }
        outcome.failure = explain(reason).error();
        return outcome;
    }

    void delivered(const rd_kafka_message_t& message) override {
        const auto index = reinterpret_cast<std::uintptr_t>(message._private);
        if (message.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            // Those behind it fail for its sake.
            if (!refused_) {
                refused_ = message.err;
            }
        } else if (index == confirmed_) {
            ++confirmed_;
        }
    }

private:
    [[nodiscard]] bool is_hopeful(std::chrono::steady_clock::time_point until) const {
        return !refused_ && trouble_code() != RD_KAFKA_RESP_ERR__AUTHENTICATION &&
               trouble_code() != RD_KAFKA_RESP_ERR__FATAL &&
               std::chrono::steady_clock::now() < until;
    }

    rd_kafka_resp_err_t send(rd_kafka_topic_t& topic, std::uint32_t partition, const Event& event,
                             std::size_t index) {
        std::array<rd_kafka_vu_t, 7> values{};
        values[0].vtype = RD_KAFKA_VTYPE_RKT;
        values[0].u.rkt = &topic;
        values[1].vtype = RD_KAFKA_VTYPE_PARTITION;
        values[1].u.i32 = static_cast<std::int32_t>(partition);
        values[2] = memory(RD_KAFKA_VTYPE_VALUE, event.data);
        values[3] = memory(RD_KAFKA_VTYPE_KEY, event.key);
        values[4].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
        values[4].u.i = RD_KAFKA_MSG_F_COPY;
        values[5].vtype = RD_KAFKA_VTYPE_OPAQUE;
        values[5].u.ptr = reinterpret_cast<void*>(static_cast<std::uintptr_t>(index));
        Headers headers = make_headers(event, views_);
        values[6].vtype = RD_KAFKA_VTYPE_HEADERS;
        values[6].u.headers = headers.get();
        const ClientError error(rd_kafka_produceva(client_.get(), values.data(), values.size()));
        if (error != nullptr) {
            return rd_kafka_error_code(error.get());
        }
        std::ignore = headers.release();
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }

    std::unexpected<Error> explain(rd_kafka_resp_err_t reason) {
        std::array<char, 512> text{};
        if (const auto fatal = rd_kafka_fatal_error(client_.get(), text.data(), text.size());
            fatal != RD_KAFKA_RESP_ERR_NO_ERROR &&
            (code_of(reason) == ErrorCode::kUnavailable ||
             code_of(fatal) == ErrorCode::kPermissionDenied)) {
            return fail_with("not confirmed", fatal, *this, text.data());
        }
        return fail_with(
            reason == RD_KAFKA_RESP_ERR__TIMED_OUT ? "not confirmed in time" : "refused", reason,
            *this);
    }

    Client client_;
    AttributeViews views_;
    std::size_t confirmed_ = 0;
    std::optional<rd_kafka_resp_err_t> refused_;
};

KafkaPublisher::KafkaPublisher(const Cluster& cluster, Control& control,
                               std::chrono::milliseconds publish_timeout)
    : cluster_(cluster), control_(control), timeout_(publish_timeout) {}

KafkaPublisher::~KafkaPublisher() = default;

Result<void> KafkaPublisher::declare_topic(std::string_view topic, std::uint32_t partitions) {
    if (topic.empty() || partitions == 0 || partitions > kKafkaPartitionsMax) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("topic \"{}\" with {} partitions: it needs a name and 1 to {} "
                                "partitions",
                                topic, partitions, kKafkaPartitionsMax));
    }
    INSTEP_TRY_ASSIGN(auto layout, control_.find_topic(topic));
    if (!layout) {
        Properties settings = {{"max.message.bytes", std::to_string(kMessageBytesMax)}};
        if (cluster_.cleanup == Cleanup::kCompact) {
            settings.emplace_back("cleanup.policy", "compact");
        }
        auto created = control_.create_topic(topic, partitions, settings);
        if (created) {
            return {};
        }
        if (created.error().code == ErrorCode::kPermissionDenied) {
            created.error().message += fmt::format(
                "; grant CREATE on it, or make it: kafka-topics.sh --create --topic {} "
                "--partitions {} --config max.message.bytes={}",
                topic, partitions, kMessageBytesMax);
        }
        if (created.error().code != ErrorCode::kConflict) {
            return created;
        }
        // Another publisher was quicker.
        INSTEP_TRY_ASSIGN(layout, control_.find_topic(topic));
        if (!layout) {
            return created;
        }
    }
    if (layout->partitions != partitions) {
        return fail(ErrorCode::kConflict,
                    fmt::format("topic {} exists with {} partitions, not {}; use another name or "
                                "the same number",
                                topic, layout->partitions, partitions));
    }
    return {};
}

PublishOutcome KafkaPublisher::publish(const PublishBatch& batch) {
    PublishOutcome checked = check(batch.events);
    PublishBatch accepted = batch;
    accepted.events = batch.events.first(checked.durable);
    PublishOutcome outcome = send(accepted, Batching::kOn);
    if (refuses_event(outcome.failure) && accepted.events.size() > 1) {
        // The server refuses batches as a whole; one by one it tells which event it means.
        const std::size_t before = outcome.durable;
        accepted.events = accepted.events.subspan(before);
        outcome = send(accepted, Batching::kOff);
        producer_.reset();
        outcome.durable += before;
    }
    if (!outcome.failure) {
        outcome.failure = std::move(checked.failure);
        return outcome;
    }
    outcome.failure = fail_in(fmt::format("publish to partition {} of topic {} at {}",
                                          batch.partition, batch.topic, cluster_.display_url),
                              *std::move(outcome.failure))
                          .error();
    return outcome;
}

PublishOutcome KafkaPublisher::send(const PublishBatch& batch, Batching batching) {
    if (batch.events.empty()) {
        return {};
    }
    if (producer_ == nullptr || batching == Batching::kOff) {
        auto producer = Producer::create(cluster_, batching);
        if (!producer) {
            return {.durable = 0, .failure = std::move(producer).error()};
        }
        producer_ = *std::move(producer);
    }
    PublishOutcome outcome = producer_->publish(batch, timeout_);
    if (outcome.failure) {
        producer_.reset();
    }
    return outcome;
}

Result<std::optional<LastPublished>> KafkaPublisher::last_published(std::string_view topic,
                                                                    std::uint32_t partition,
                                                                    std::string_view source) {
    const TopicPartition of{std::string(topic), partition};
    INSTEP_TRY_ASSIGN(const OffsetRanges ranges, control_.find_ranges(std::span(&of, 1)));
    if (ranges.empty()) {
        return std::nullopt;
    }
    const OffsetRange range = ranges.at(of);
    std::int64_t end = range.end;
    for (std::int64_t size = kTailMessages; end > range.first; size *= kTailGrowth) {
        const std::int64_t begin = std::max(range.first, end - size);
        std::optional<LastPublished> last;
        INSTEP_TRY(control_.read(of, begin, end, [&](const rd_kafka_message_t& message) {
            const Delivery delivery = read_message(message);
            if (!delivery.malformed && delivery.event.source == source) {
                last = LastPublished{.incarnation = delivery.event.incarnation,
                                     .version = delivery.event.version};
            }
            return true;
        }));
        if (last) {
            return last;
        }
        end = begin;
    }
    return std::nullopt;
}

}  // namespace instep::kafka_broker
