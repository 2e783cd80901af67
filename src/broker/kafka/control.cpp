#include "control.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace instep::kafka_broker {

namespace {

using Metadata = std::unique_ptr<const rd_kafka_metadata_t, Destroy<&rd_kafka_metadata_destroy>>;
using AdminOptions =
    std::unique_ptr<rd_kafka_AdminOptions_t, Destroy<&rd_kafka_AdminOptions_destroy>>;
using NewTopic = std::unique_ptr<rd_kafka_NewTopic_t, Destroy<&rd_kafka_NewTopic_destroy>>;
using Resource =
    std::unique_ptr<rd_kafka_ConfigResource_t, Destroy<&rd_kafka_ConfigResource_destroy>>;
using OffsetsRequest = std::unique_ptr<rd_kafka_ListConsumerGroupOffsets_t,
                                       Destroy<&rd_kafka_ListConsumerGroupOffsets_destroy>>;

constexpr std::size_t kErrorText = 512;

/// Messages taken from the library at once.
constexpr std::size_t kReadMessages = 500;

AdminOptions make_options(rd_kafka_t* client, rd_kafka_admin_op_t what, int timeout) {
    AdminOptions options(rd_kafka_AdminOptions_new(client, what));
    rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout, nullptr, 0);
    return options;
}

TopicLayout layout_of(const rd_kafka_metadata_topic_t& topic) {
    TopicLayout layout{.partitions = static_cast<std::uint32_t>(topic.partition_cnt)};
    for (const auto& partition : std::span(topic.partitions, layout.partitions)) {
        const auto replicas = static_cast<std::uint32_t>(partition.replica_cnt);
        layout.replicas = layout.replicas == 0 ? replicas : std::min(layout.replicas, replicas);
        layout.behind += partition.isr_cnt < partition.replica_cnt ? 1 : 0;
        layout.leaderless += partition.leader < 0 ? 1 : 0;
    }
    return layout;
}

/// True while a partition gets a leader: over in a moment.
bool is_leader_moving(rd_kafka_resp_err_t error) {
    return error == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           error == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           error == RD_KAFKA_RESP_ERR__WAIT_CACHE;
}

}  // namespace

Result<rd_kafka_t*> Control::client() {
    if (client_ == nullptr) {
        // A consumer, because those look at topics without making them. It joins no group; that
        // it names one keeps librdkafka 2.0.2 from a null pointer when a group's offsets are
        // asked for while its server moves.
        INSTEP_TRY_ASSIGN(client_, make_client(RD_KAFKA_CONSUMER, cluster_,
                                               {{"group.id", "instep.control"},
                                                {"allow.auto.create.topics", "false"},
                                                {"enable.partition.eof", "true"},
                                                {"enable.auto.commit", "false"},
                                                {"queued.max.messages.kbytes", "4096"}},
                                               listener_));
    }
    return client_.get();
}

/// The library tells what is wrong with a connection once, not with every request that fails for
/// it: so that is remembered until one succeeds.
void Control::note_success() {
    rd_kafka_poll(client_.get(), 0);
    listener_.forget_trouble();
}

template <class Ask>
auto Control::insist(bool (*is_passing)(rd_kafka_resp_err_t), const Ask& ask) {
    const auto until = std::chrono::steady_clock::now() + timeout_;
    while (true) {
        last_refusal_ = RD_KAFKA_RESP_ERR_NO_ERROR;
        auto answer = ask();
        if (answer || !is_passing(last_refusal_) || std::chrono::steady_clock::now() > until) {
            return answer;
        }
        rd_kafka_poll(client_.get(), 50);
    }
}

std::unexpected<Error> Control::refused(std::string_view what, rd_kafka_resp_err_t error,
                                        std::string_view detail) {
    rd_kafka_poll(client_.get(), 0);
    last_refusal_ = error;

    return fail_with(fmt::format("{} at {}", what, cluster_.display_url), error, listener_, detail);
}

Result<Answer> Control::await(rd_kafka_queue_t& queue, std::string_view what) {
    // The request has a time-out of its own, after which there is an answer.
    constexpr int kMargin = 1000;
    Answer answer(rd_kafka_queue_poll(&queue, timeout_ms(timeout_) + kMargin));
    if (answer == nullptr) {
        return refused(what, RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    if (const auto error = rd_kafka_event_error(answer.get())) {
        return refused(what, error, rd_kafka_event_error_string(answer.get()));
    }
    return answer;
}

Result<std::optional<TopicLayout>> Control::find_topic(std::string_view topic) {
    const std::scoped_lock lock(mutex_);
    INSTEP_TRY_ASSIGN(rd_kafka_t * client, this->client());
    const std::string name(topic);
    const std::string what = fmt::format("look at topic {}", topic);
    const Topic handle(rd_kafka_topic_new(client, name.c_str(), nullptr));
    if (handle == nullptr) {
        return refused(what, rd_kafka_last_error());
    }
    const rd_kafka_metadata_t* raw = nullptr;
    const auto error = rd_kafka_metadata(client, 0, handle.get(), &raw, timeout_ms(timeout_));
    const Metadata metadata(raw);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return refused(what, error);
    }
    note_success();
    if (metadata->topic_cnt != 1) {
        return std::nullopt;
    }
    const rd_kafka_metadata_topic_t& found = metadata->topics[0];
    switch (static_cast<int>(found.err)) {
        case RD_KAFKA_RESP_ERR_NO_ERROR:
        case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
            return layout_of(found);
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
            return std::nullopt;
        default:
            return refused(what, found.err);
    }
}

Result<void> Control::create_topic(std::string_view topic, std::uint32_t partitions,
                                   const Properties& settings) {
    const std::scoped_lock lock(mutex_);
    INSTEP_TRY_ASSIGN(rd_kafka_t * client, this->client());
    const std::string name(topic);
    const std::string what = fmt::format("make topic {} with {} partitions", topic, partitions);
    std::array<char, kErrorText> text{};
    const NewTopic wanted(rd_kafka_NewTopic_new(name.c_str(), static_cast<int>(partitions),
                                                cluster_.replication, text.data(), text.size()));
    if (wanted == nullptr) {
        return refused(what, RD_KAFKA_RESP_ERR__INVALID_ARG, text.data());
    }
    for (const auto& [key, value] : settings) {
        rd_kafka_NewTopic_set_config(wanted.get(), key.c_str(), value.c_str());
    }
    const Queue queue(rd_kafka_queue_new(client));
    const auto options = make_options(client, RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout_ms(timeout_));
    rd_kafka_NewTopic_t* topics[] = {wanted.get()};
    rd_kafka_CreateTopics(client, topics, 1, options.get(), queue.get());
    INSTEP_TRY_ASSIGN(const Answer answer, await(*queue, what));
    std::size_t count = 0;
    const auto* results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(answer.get()), &count);
    if (const auto error = rd_kafka_topic_result_error(results[0])) {
        const char* detail = rd_kafka_topic_result_error_string(results[0]);
        return refused(what, error, detail == nullptr ? "" : detail);
    }
    const auto until = std::chrono::steady_clock::now() + timeout_;
    do {
        INSTEP_TRY_ASSIGN(const auto layout, find_topic(topic));
        if (layout && layout->leaderless == 0) {
            return {};
        }
        // Until all servers know of it; nothing else ends this wait.
        rd_kafka_poll(client, 10);
    } while (std::chrono::steady_clock::now() < until);
    return refused(what, RD_KAFKA_RESP_ERR__TIMED_OUT, "its partitions have no leaders");
}

Result<std::vector<std::string>> Control::list_groups() {
    const std::scoped_lock lock(mutex_);
    return insist(&is_coordinator_moving, [this] { return read_groups(); });
}

Result<std::vector<std::string>> Control::read_groups() {
    INSTEP_TRY_ASSIGN(rd_kafka_t * client, this->client());
    const Queue queue(rd_kafka_queue_new(client));
    const auto options =
        make_options(client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, timeout_ms(timeout_));
    rd_kafka_ListConsumerGroups(client, options.get(), queue.get());
    INSTEP_TRY_ASSIGN(const Answer answer, await(*queue, "list consumer groups"));
    const auto* result = rd_kafka_event_ListConsumerGroups_result(answer.get());
    std::size_t count = 0;
    if (const auto* errors = rd_kafka_ListConsumerGroups_result_errors(result, &count); count > 0) {
        return refused("list consumer groups", rd_kafka_error_code(errors[0]),
                       rd_kafka_error_string(errors[0]));
    }
    note_success();
    std::vector<std::string> groups;
    const auto* listings = rd_kafka_ListConsumerGroups_result_valid(result, &count);
    for (const auto* listing : std::span(listings, count)) {
        groups.emplace_back(rd_kafka_ConsumerGroupListing_group_id(listing));
    }
    return groups;
}

Result<std::vector<GroupOffsets>> Control::committed_offsets(std::span<const std::string> groups) {
    const std::scoped_lock lock(mutex_);
    return insist(&is_coordinator_moving, [&] { return read_offsets(groups); });
}

Result<std::vector<GroupOffsets>> Control::read_offsets(std::span<const std::string> groups) {
    INSTEP_TRY_ASSIGN(rd_kafka_t * client, this->client());
    const Queue queue(rd_kafka_queue_new(client));
    const auto options =
        make_options(client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, timeout_ms(timeout_));
    for (const std::string& group : groups) {
        const OffsetsRequest request(rd_kafka_ListConsumerGroupOffsets_new(group.c_str(), nullptr));
        rd_kafka_ListConsumerGroupOffsets_t* requests[] = {request.get()};
        rd_kafka_ListConsumerGroupOffsets(client, requests, 1, options.get(), queue.get());
    }
    std::vector<GroupOffsets> all;
    for (std::size_t i = 0; i < groups.size(); ++i) {
        INSTEP_TRY_ASSIGN(const Answer answer, await(*queue, "read the offsets of groups"));
        std::size_t count = 0;
        const auto* results = rd_kafka_ListConsumerGroupOffsets_result_groups(
            rd_kafka_event_ListConsumerGroupOffsets_result(answer.get()), &count);
        for (const auto* result : std::span(results, count)) {
            GroupOffsets read{.group = rd_kafka_group_result_name(result), .offsets = {}};
            if (const auto* error = rd_kafka_group_result_error(result)) {
                return refused(fmt::format("read the offsets of group {}", read.group),
                               rd_kafka_error_code(error), rd_kafka_error_string(error));
            }
            for (const auto& entry : all_of(*rd_kafka_group_result_partitions(result))) {
                if (entry.offset >= 0) {
                    read.offsets.push_back(
                        {{entry.topic, static_cast<std::uint32_t>(entry.partition)},
                         entry.offset,
                         std::string(static_cast<const char*>(entry.metadata),
                                     entry.metadata_size)});
                }
            }
            all.push_back(std::move(read));
        }
    }
    note_success();
    return all;
}

Result<void> Control::query_ends(
    std::span<const TopicPartition> partitions, std::int64_t which,
    const std::function<void(const TopicPartition&, std::int64_t)>& found) {
    const PartitionList list = make_list(static_cast<int>(partitions.size()));
    for (const TopicPartition& partition : partitions) {
        rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(),
                                          static_cast<std::int32_t>(partition.partition))
            ->offset = which;
    }
    // The protocol takes the two ends as special points in time.
    const auto error = rd_kafka_offsets_for_times(client_.get(), list.get(), timeout_ms(timeout_));
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return refused("look at the ends of partitions", error);
    }
    note_success();
    for (const auto& entry : all_of(*list)) {
        if (entry.err == RD_KAFKA_RESP_ERR_NO_ERROR && entry.offset >= 0) {
            found({entry.topic, static_cast<std::uint32_t>(entry.partition)}, entry.offset);
        } else if (code_of(entry.err) != ErrorCode::kNotFound) {
            return refused(fmt::format("look at the ends of partition {} of topic {}",
                                       entry.partition, entry.topic),
                           entry.err);
        }
    }
    return {};
}

Result<OffsetRanges> Control::find_ranges(std::span<const TopicPartition> partitions) {
    const std::scoped_lock lock(mutex_);
    if (partitions.empty()) {
        return OffsetRanges{};
    }
    INSTEP_TRY(client());
    return insist(&is_leader_moving, [&] { return read_ranges(partitions); });
}

Result<OffsetRanges> Control::read_ranges(std::span<const TopicPartition> partitions) {
    OffsetRanges ranges;
    INSTEP_TRY(query_ends(
        partitions, RD_KAFKA_OFFSET_BEGINNING,
        [&](const TopicPartition& of, std::int64_t first) { ranges[of] = {first, first}; }));
    INSTEP_TRY(query_ends(partitions, RD_KAFKA_OFFSET_END,
                          [&](const TopicPartition& of, std::int64_t end) {
                              if (const auto range = ranges.find(of); range != ranges.end()) {
                                  range->second.end = end;
                              }
                          }));
    return ranges;
}

Result<void> Control::read(const TopicPartition& partition, std::int64_t offset, std::int64_t end,
                           const std::function<bool(const rd_kafka_message_t&)>& visit) {
    const std::scoped_lock lock(mutex_);
    INSTEP_TRY_ASSIGN(rd_kafka_t * client, this->client());
    const std::string what =
        fmt::format("read partition {} of topic {}", partition.partition, partition.topic);
    const Topic topic(rd_kafka_topic_new(client, partition.topic.c_str(), nullptr));
    const Queue queue(rd_kafka_queue_new(client));
    const auto number = static_cast<std::int32_t>(partition.partition);
    if (topic == nullptr ||
        rd_kafka_consume_start_queue(topic.get(), number, offset, queue.get()) != 0) {
        return refused(what, rd_kafka_last_error());
    }
    const auto read_on = [&]() -> Result<void> {
        const auto until = std::chrono::steady_clock::now() + timeout_;
        while (std::chrono::steady_clock::now() < until) {
            std::array<rd_kafka_message_t*, kReadMessages> raw{};
            // Waits for the first one only: the rest would be waited for in vain at the end.
            auto count =
                rd_kafka_consume_batch_queue(queue.get(), timeout_ms(timeout_), raw.data(), 1);
            if (count == 1) {
                count += std::max<ssize_t>(0, rd_kafka_consume_batch_queue(
                                                  queue.get(), 0, raw.data() + 1, raw.size() - 1));
            }
            std::vector<Message> messages(raw.data(), raw.data() + std::max<ssize_t>(count, 0));
            for (const Message& message : messages) {
                if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                    return {};
                }
                if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                    return refused(what, message->err);
                }
                if (message->offset >= end || !visit(*message) || message->offset + 1 == end) {
                    return {};
                }
            }
        }
        return refused(what, RD_KAFKA_RESP_ERR__TIMED_OUT);
    };
    auto done = read_on();
    rd_kafka_consume_stop(topic.get(), number);
    return done;
}

Result<Settings> Control::settings_of(std::string_view topic) {
    const std::scoped_lock lock(mutex_);
    INSTEP_TRY_ASSIGN(rd_kafka_t * client, this->client());
    std::string name(topic);
    const std::string what = topic.empty() ? std::string("read the server's settings")
                                           : fmt::format("read the settings of topic {}", topic);
    if (topic.empty()) {
        const auto id = rd_kafka_controllerid(client, timeout_ms(timeout_));
        if (id < 0) {
            return refused(what, RD_KAFKA_RESP_ERR__TIMED_OUT);
        }
        name = fmt::to_string(id);
    }
    const Resource resource(rd_kafka_ConfigResource_new(
        topic.empty() ? RD_KAFKA_RESOURCE_BROKER : RD_KAFKA_RESOURCE_TOPIC, name.c_str()));
    const Queue queue(rd_kafka_queue_new(client));
    const auto options =
        make_options(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout_ms(timeout_));
    rd_kafka_ConfigResource_t* resources[] = {resource.get()};
    rd_kafka_DescribeConfigs(client, resources, 1, options.get(), queue.get());
    INSTEP_TRY_ASSIGN(const Answer answer, await(*queue, what));
    std::size_t count = 0;
    const auto* results = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(answer.get()), &count);
    if (const auto error = rd_kafka_ConfigResource_error(results[0])) {
        const char* detail = rd_kafka_ConfigResource_error_string(results[0]);
        return refused(what, error, detail == nullptr ? "" : detail);
    }
    note_success();
    Settings settings;
    const auto* entries = rd_kafka_ConfigResource_configs(results[0], &count);
    for (const auto* entry : std::span(entries, count)) {
        const char* value = rd_kafka_ConfigEntry_value(entry);
        settings[rd_kafka_ConfigEntry_name(entry)] = {value == nullptr ? "" : value,
                                                      rd_kafka_ConfigEntry_is_default(entry) == 1};
    }
    return settings;
}

}  // namespace instep::kafka_broker
