// Everything that is asked of the server besides publishing and receiving: topics, groups,
// offsets, settings, single messages.
#pragma once

#include "client.hpp"
#include "instep/broker/broker.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep::kafka_broker {

struct TopicLayout {
    std::uint32_t partitions = 0;

    /// Copies of the partition that has fewest.
    std::uint32_t replicas = 0;

    /// Partitions that miss some of their copies, or have no leader.
    std::uint32_t behind = 0;
    std::uint32_t leaderless = 0;
};

struct TopicPartition {
    std::string topic;
    std::uint32_t partition = 0;

    friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
};

/// Where a partition's messages are: offsets from `first` to before `end`.
struct OffsetRange {
    std::int64_t first = 0;
    std::int64_t end = 0;
};

using OffsetRanges = std::map<TopicPartition, OffsetRange>;

/// As an offset's metadata it tells that the group is a subscription of ours.
inline constexpr std::string_view kOurs = "instep";

/// What a group has committed for a partition.
struct CommittedOffset {
    TopicPartition of;
    std::int64_t offset = 0;
    std::string metadata;
};

struct GroupOffsets {
    std::string group;
    std::vector<CommittedOffset> offsets;
};

/// A setting's value and whether somebody has set it.
struct Setting {
    std::string value;
    bool is_default = true;
};

using Settings = std::map<std::string, Setting, std::less<>>;

/// Safe to call from any thread; one request at a time. Connects at its first use. Every
/// request ends within the time-out it was made with.
class Control {
public:
    Control(const Cluster& cluster, std::chrono::milliseconds timeout)
        : cluster_(cluster), timeout_(timeout) {}

    /// Nothing if the topic does not exist.
    Result<std::optional<TopicLayout>> find_topic(std::string_view topic);

    /// Returns when the topic can be used. Errors: kConflict if it exists.
    Result<void> create_topic(std::string_view topic, std::uint32_t partitions,
                              const Properties& settings);

    Result<std::vector<std::string>> list_groups();

    /// In the order of `groups`.
    Result<std::vector<GroupOffsets>> committed_offsets(std::span<const std::string> groups);

    /// Of those of the partitions that exist.
    Result<OffsetRanges> find_ranges(std::span<const TopicPartition> partitions);

    /// Shows `visit` the messages from `offset` on until it returns false or the end that the
    /// partition had is reached.
    Result<void> read(const TopicPartition& partition, std::int64_t offset, std::int64_t end,
                      const std::function<bool(const rd_kafka_message_t&)>& visit);

    /// Of a topic, or of any one server if `topic` is empty. Errors: kPermissionDenied.
    Result<Settings> settings_of(std::string_view topic);

private:
    Result<rd_kafka_t*> client();
    void note_success();

    /// Asks again, until the time-out, as long as `is_passing` holds for what the server refuses
    /// with.
    template <class Ask>
    auto insist(bool (*is_passing)(rd_kafka_resp_err_t), const Ask& ask);
    Result<std::vector<std::string>> read_groups();
    Result<std::vector<GroupOffsets>> read_offsets(std::span<const std::string> groups);
    Result<OffsetRanges> read_ranges(std::span<const TopicPartition> partitions);
    std::unexpected<Error> refused(std::string_view what, rd_kafka_resp_err_t error,
                                   std::string_view detail = "");
    Result<Answer> await(rd_kafka_queue_t& queue, std::string_view what);
    Result<void> query_ends(std::span<const TopicPartition> partitions, std::int64_t which,
                            const std::function<void(const TopicPartition&, std::int64_t)>& found);

    const Cluster& cluster_;
    const std::chrono::milliseconds timeout_;
    std::recursive_mutex mutex_;
    Listener listener_;
    rd_kafka_resp_err_t last_refusal_ = RD_KAFKA_RESP_ERR_NO_ERROR;
    Client client_;
};

}  // namespace instep::kafka_broker
