#include "instep/broker/kafka/broker.hpp"

#include "control.hpp"
#include "examine.hpp"
#include "instep/broker/checks.hpp"
#include "message.hpp"
#include "publisher.hpp"
#include "subscriber.hpp"
#include "url.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace instep {

namespace kafka_broker {

namespace {

using namespace std::chrono_literals;

}  // namespace

class KafkaBroker final : public Broker {
public:
    KafkaBroker(Cluster cluster, KafkaOptions options)
        : cluster_(std::move(cluster)),
          options_(options),
          control_(cluster_, options.request_timeout) {}

    [[nodiscard]] BrokerFeatures features() const override {
        return {.fences_publishers = false,
                .remembers_last_version = true,
                .stable_positions = true,
                .replays = true,
                .rewinds = Rewinds::kForGood,
                .compacts = cluster_.cleanup == Cleanup::kCompact,
                .event_bytes_max = kEventDataBytesMax};
    }

    [[nodiscard]] std::string_view display_url() const override { return cluster_.display_url; }

    Result<std::unique_ptr<Publisher>> publisher() override {
        return std::make_unique<KafkaPublisher>(cluster_, control_, options_.publish_timeout);
    }

    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override {
        INSTEP_TRY(check(options));
        return KafkaSubscriber::join(cluster_, control_, std::move(options),
                                     options_.request_timeout);
    }

    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override;

    Result<std::vector<KeptEvents>> kept(std::string_view topic) override;

    /// Kafka deletes by itself.
    Result<std::uint64_t> trim(Timestamp /*before*/) override { return 0; }

    Result<std::vector<BrokerFinding>> examine() override {
        return examine_cluster(cluster_, control_);
    }

private:
    Result<std::optional<Timestamp>> find_time(const TopicPartition& partition, OffsetRange range);

    const Cluster cluster_;
    const KafkaOptions options_;
    Control control_;
};

Result<std::vector<SubscriptionLag>> KafkaBroker::lag(std::string_view topic) {
    INSTEP_TRY_ASSIGN(const auto names, control_.list_groups());
    INSTEP_TRY_ASSIGN(const auto groups, control_.committed_offsets(names));
    std::vector<SubscriptionLag> lags;
    std::vector<TopicPartition> partitions;
    for (const GroupOffsets& group : groups) {
        for (const CommittedOffset& committed : group.offsets) {
            const bool is_asked_for =
                topic.empty() ? is_ours(committed) : committed.of.topic == topic;
            if (is_asked_for) {
                lags.push_back({.subscription = group.group,
                                .topic = committed.of.topic,
                                .partition = committed.of.partition,
                                .acknowledged = static_cast<Position>(committed.offset),
                                .newest = 0,
                                .events = 0,
                                .oldest = std::nullopt});
                partitions.push_back(committed.of);
            }
        }
    }
    std::ranges::sort(partitions);
    partitions.erase(std::ranges::unique(partitions).begin(), partitions.end());
    INSTEP_TRY_ASSIGN(const OffsetRanges ranges, control_.find_ranges(partitions));
    for (SubscriptionLag& lag : lags) {
        const auto range = ranges.find({lag.topic, lag.partition});
        if (range == ranges.end()) {
            continue;
        }
        lag.newest = static_cast<Position>(range->second.end);
        const auto begin = std::max(lag.acknowledged, static_cast<Position>(range->second.first));
        lag.events = lag.newest - std::min(lag.newest, begin);
        if (lag.events > 0) {
            INSTEP_TRY_ASSIGN(lag.oldest,
                              find_time({lag.topic, lag.partition},
                                        {static_cast<std::int64_t>(lag.newest - lag.events),
                                         static_cast<std::int64_t>(lag.newest)}));
        }
    }
    std::ranges::sort(lags, [](const SubscriptionLag& a, const SubscriptionLag& b) {
        return std::tie(a.subscription, a.topic, a.partition) <
               std::tie(b.subscription, b.topic, b.partition);
    });
    return lags;
}

/// When the first event of the range was appended.
Result<std::optional<Timestamp>> KafkaBroker::find_time(const TopicPartition& partition,
                                                        OffsetRange range) {
    std::optional<Timestamp> time;
    INSTEP_TRY(
        control_.read(partition, range.first, range.end, [&](const rd_kafka_message_t& message) {
            const Delivery delivery = read_message(message);
            const auto published =
                Timestamp(std::chrono::milliseconds(rd_kafka_message_timestamp(&message, nullptr)));
            const bool has_time = !delivery.malformed && delivery.event.time != Timestamp{};
            time = has_time ? delivery.event.time : published;
            return false;
        }));
    return time;
}

Result<std::vector<KeptEvents>> KafkaBroker::kept(std::string_view topic) {
    INSTEP_TRY_ASSIGN(const auto layout, control_.find_topic(topic));
    std::vector<TopicPartition> partitions;
    for (std::uint32_t index = 0; layout && index < layout->partitions; ++index) {
        partitions.push_back({std::string(topic), index});
    }
    INSTEP_TRY_ASSIGN(const OffsetRanges ranges, control_.find_ranges(partitions));
    std::vector<KeptEvents> all;
    for (const auto& [place, range] : ranges) {
        KeptEvents& kept = all.emplace_back();
        kept.partition = place.partition;
        kept.before = static_cast<Position>(range.first);
        kept.newest = static_cast<Position>(range.end);
        // Compaction deletes here and there, and leaves each key's newest.
        kept.is_trimmed = range.first > 0;
        if (range.first < range.end) {
            INSTEP_TRY_ASSIGN(kept.oldest, find_time(place, range));
        }
    }
    return all;
}

}  // namespace kafka_broker

Result<std::unique_ptr<Broker>> open_kafka_broker(std::string_view url, KafkaOptions options) {
    using namespace std::chrono_literals;
    for (const auto time : {options.publish_timeout, options.request_timeout}) {
        if (time < 1s || time > 60s) {
            return fail(ErrorCode::kConfigInvalid,
                        fmt::format("Kafka broker: a time-out of {} ms is not between 1 s and 60 s",
                                    time.count()));
        }
    }
    INSTEP_TRY_ASSIGN(auto cluster, kafka_broker::parse_url(url));
    // The library checks its options when a client is made, which connects nowhere by itself.
    kafka_broker::Listener listener;
    INSTEP_TRY(kafka_broker::make_client(RD_KAFKA_PRODUCER, cluster, {}, listener));
    return std::make_unique<kafka_broker::KafkaBroker>(std::move(cluster), options);
}

}  // namespace instep
