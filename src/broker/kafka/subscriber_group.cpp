// A subscriber as a member of its group: how the group comes to be, what the member is given and
// what it gives up.
#include "instep/broker/kafka/broker.hpp"
#include "subscriber.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace instep::kafka_broker {

namespace {

using namespace std::chrono_literals;

using GroupMetadata = std::unique_ptr<rd_kafka_consumer_group_metadata_t,
                                      Destroy<&rd_kafka_consumer_group_metadata_destroy>>;

/// The longest wait for a group that does not let a new member in, since another member has to
/// drain first.
constexpr std::chrono::milliseconds kJoinPatience = 2s;

Properties properties_of(const SubscribeOptions& options, Membership membership) {
    const auto timeout = options.member_timeout;
    Properties own = {
        {"group.id", options.subscription},
        {"client.id", options.member},
        {"session.timeout.ms", fmt::to_string(timeout.count())},
        // The library's own thread keeps the session; a member whose caller is silent has to go.
        {"max.poll.interval.ms", fmt::to_string(timeout.count())},
        {"heartbeat.interval.ms", fmt::to_string(std::min(timeout / 4, 1000ms).count())},
        {"partition.assignment.strategy", "cooperative-sticky"},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "error"},
        {"allow.auto.create.topics", "false"},
        {"fetch.error.backoff.ms", "100"}};
    if (membership == Membership::kStatic) {
        own.emplace_back("group.instance.id", options.member);
    }
    return own;
}

}  // namespace

Result<void> KafkaSubscriber::open() {
    Cluster cluster = cluster_;
    // Below the library's default, which a handful of subscriptions would fill a small machine
    // with; the library pauses for a second whenever it is reached.
    const auto is_set = std::ranges::any_of(cluster.properties, [](const auto& property) {
        return property.first == "queued.max.messages.kbytes";
    });
    if (!is_set) {
        cluster.properties.emplace_back("queued.max.messages.kbytes", "32768");
    }
    INSTEP_TRY_ASSIGN(client_, make_client(RD_KAFKA_CONSUMER, cluster,
                                           properties_of(options_, cluster_.membership), *this));
    rd_kafka_poll_set_consumer(client_.get());
    queue_.reset(rd_kafka_queue_get_consumer(client_.get()));
    rd_kafka_queue_cb_event_enable(
        queue_.get(), [](rd_kafka_t*, void* arrival) { static_cast<Signal*>(arrival)->notify(); },
        &arrival_);
    commit_answers_.reset(rd_kafka_queue_new(client_.get()));
    rd_kafka_queue_cb_event_enable(
        commit_answers_.get(),
        [](rd_kafka_t*, void* arrival) { static_cast<Signal*>(arrival)->notify(); }, &arrival_);
    INSTEP_TRY(ensure_subscription());
    return subscribe_to_topic();
}

/// A subscription is the offsets that its group has committed. Where the topic does not exist
/// yet, there is nothing to commit for, and the marker topic stands in.
Result<void> KafkaSubscriber::ensure_subscription() {
    INSTEP_TRY_ASSIGN(const auto layout, control_.find_topic(options_.topic));
    INSTEP_TRY_ASSIGN(const bool is_known, has_committed(layout ? layout->partitions : 0));
    if (is_known) {
        return {};
    }
    INSTEP_TRY(refuse_topic_of_another());
    if (!layout) {
        return remember_waiting();
    }
    std::vector<TopicPartition> partitions;
    for (std::uint32_t partition = 0; partition < layout->partitions; ++partition) {
        partitions.push_back({options_.topic, partition});
    }
    INSTEP_TRY_ASSIGN(const OffsetRanges ranges, control_.find_ranges(partitions));
    const PartitionList begin = make_list(static_cast<int>(ranges.size()));
    for (const auto& [of, range] : ranges) {
        const bool at_end = options_.start_at == StartAt::kLatest;
        add(*begin, of.topic, of.partition, at_end ? range.end : range.first, kOurs);
    }
    auto committed = commit(*begin);
    // A group that has members has been made by one of them just now.
    if (!committed && committed.error().code == ErrorCode::kFenced) {
        return {};
    }
    return committed;
}

/// Asked by the group's own client: librdkafka 2.0.2 ends the process when an administrator's
/// question for offsets meets a connection that breaks, as it does while a server is down.
Result<bool> KafkaSubscriber::has_committed(std::uint32_t partitions) {
    const PartitionList committed = make_list(static_cast<int>(partitions) + 1);
    for (std::uint32_t partition = 0; partition < partitions; ++partition) {
        rd_kafka_topic_partition_list_add(committed.get(), options_.topic.c_str(),
                                          static_cast<std::int32_t>(partition));
    }
    rd_kafka_topic_partition_list_add(committed.get(), kKafkaMarkerTopic.data(), 0);
    const auto error = rd_kafka_committed(client_.get(), committed.get(), timeout_ms(timeout_));
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return refused("read what is acknowledged", error);
    }
    return std::ranges::any_of(all_of(*committed), [&](const auto& entry) {
        const std::string_view metadata(static_cast<const char*>(entry.metadata),
                                        entry.metadata_size);
        return entry.offset >= 0 &&
               (entry.topic != kKafkaMarkerTopic || metadata == options_.topic);
    });
}

Result<void> KafkaSubscriber::refuse_topic_of_another() {
    INSTEP_TRY_ASSIGN(const auto groups,
                      control_.committed_offsets(std::span(&options_.subscription, 1)));
    for (const CommittedOffset& committed : groups.front().offsets) {
        const bool is_marker = committed.of.topic == kKafkaMarkerTopic;
        const std::string& topic = is_marker ? committed.metadata : committed.of.topic;
        if (topic != options_.topic) {
            return fail(ErrorCode::kConflict,
                        fmt::format("subscription {} reads topic {}, not {}; use another name",
                                    options_.subscription, topic, options_.topic));
        }
    }
    return {};
}

Result<void> KafkaSubscriber::remember_waiting() {
    INSTEP_TRY_ASSIGN(const auto marker, control_.find_topic(kKafkaMarkerTopic));
    if (!marker) {
        auto created = control_.create_topic(kKafkaMarkerTopic, 1, {});
        if (!created && created.error().code == ErrorCode::kPermissionDenied) {
            created.error().message += fmt::format(
                "; grant CREATE on it, or make it: kafka-topics.sh --create --topic {} "
                "--partitions 1",
                kKafkaMarkerTopic);
        }
        if (!created && created.error().code != ErrorCode::kConflict) {
            return created;
        }
    }
    const PartitionList list = make_list(1);
    add(*list, kKafkaMarkerTopic, 0, 0, options_.topic);
    auto committed = commit(*list);
    if (!committed && committed.error().code == ErrorCode::kFenced) {
        return {};
    }
    return committed;
}

Result<bool> KafkaSubscriber::find_topic() {
    const auto now = std::chrono::steady_clock::now();
    if (now < topic_looked_for_ + kTopicLook) {
        return false;
    }
    topic_looked_for_ = now;
    INSTEP_TRY_ASSIGN(const auto layout, control_.find_topic(options_.topic));
    return layout.has_value();
}

/// Not before the topic exists: the library would look for it every few minutes only.
Result<void> KafkaSubscriber::subscribe_to_topic() {
    if (is_subscribed_) {
        return {};
    }
    INSTEP_TRY_ASSIGN(const bool exists, find_topic());
    if (!exists) {
        return {};
    }
    const PartitionList topics = make_list(1);
    rd_kafka_topic_partition_list_add(topics.get(), options_.topic.c_str(), RD_KAFKA_PARTITION_UA);
    const auto error = rd_kafka_subscribe(client_.get(), topics.get());
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return refused("subscribe", error);
    }
    is_subscribed_ = true;
    return {};
}

/// A group takes a moment to let a member in, and free partitions are to be taken at once.
Result<void> KafkaSubscriber::await_first_share() {
    const auto until =
        std::chrono::steady_clock::now() + std::min(options_.member_timeout / 3, kJoinPatience);
    while (is_subscribed_ && !has_joined_ && !failure_ && trouble().empty()) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        if (left <= 0ms) {
            break;
        }
        arrival_.wait({}, arrivals_seen_, left);
        INSTEP_TRY(serve());
    }
    has_joined_ = has_joined_ || is_subscribed_;
    return {};
}

/// Serves what the library tells; messages come by the partitions' own queues.
Result<void> KafkaSubscriber::serve() {
    arrivals_seen_ = arrival_.count();
    while (const Message message{rd_kafka_consumer_poll(client_.get(), 0)}) {
        switch (static_cast<int>(message->err)) {
            case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
            case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
            case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
            case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
            case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
                failure_ = refused("receive", message->err).error();
                break;
            // Transport is the library's to repair, and what is lost comes as a revocation.
            default:
                break;
        }
    }
    if (revoked_ != nullptr && rd_kafka_assignment_lost(client_.get()) != 0) {
        const PartitionList lost = std::move(revoked_);
        give_up(*lost);
    }
    take_commit_answers();
    return {};
}

/// While the connection has trouble, the held partitions say nothing about the server.
Result<void> KafkaSubscriber::probe() {
    if (!failure_ && trouble().empty()) {
        return {};
    }
    INSTEP_TRY_ASSIGN(const auto layout, control_.find_topic(options_.topic));
    if (!layout) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("topic {} is not at {} any more; its events are gone. Start its "
                                "owner, which makes it again, and fill the replicas again",
                                options_.topic, cluster_.display_url));
    }
    forget_trouble();
    if (auto failure = std::exchange(failure_, {})) {
        return std::unexpected(*std::move(failure));
    }
    return {};
}

void KafkaSubscriber::rebalanced(rd_kafka_resp_err_t what,
                                 const rd_kafka_topic_partition_list_t& partitions) {
    has_joined_ = true;
    is_answered_ = true;
    if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        assigned_.reset(rd_kafka_topic_partition_list_copy(&partitions));
        return;
    }
    if (what != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        held_.clear();
        rd_kafka_assign(client_.get(), nullptr);
        return;
    }
    if (is_closing_ || rd_kafka_assignment_lost(client_.get()) != 0) {
        give_up(partitions);
        return;
    }
    revoked_.reset(rd_kafka_topic_partition_list_copy(&partitions));
    for (const auto& revoked : all_of(partitions)) {
        if (Held* held = find(static_cast<std::uint32_t>(revoked.partition))) {
            held->is_leaving = true;
        }
    }
}

void KafkaSubscriber::give_up_drained() {
    if (revoked_ == nullptr) {
        return;
    }
    const bool drained = std::ranges::all_of(all_of(*revoked_), [this](const auto& revoked) {
        const Held* held = find(static_cast<std::uint32_t>(revoked.partition));
        return held == nullptr || held->is_drained();
    });
    if (drained) {
        const PartitionList leaving = std::move(revoked_);
        give_up(*leaving);
    }
}

void KafkaSubscriber::give_up(const rd_kafka_topic_partition_list_t& partitions) {
    std::vector<Held> gone;
    for (const auto& entry : all_of(partitions)) {
        const auto held =
            std::ranges::find(held_, static_cast<std::uint32_t>(entry.partition), &Held::partition);
        if (held != held_.end()) {
            gone.push_back(std::move(*held));
            held_.erase(held);
        }
    }
    const ClientError error(rd_kafka_incremental_unassign(client_.get(), &partitions));
    if (error != nullptr) {
        rd_kafka_assign(client_.get(), nullptr);
        std::ranges::move(held_, std::back_inserter(gone));
        held_.clear();
    }
    std::ranges::for_each(gone, discard);
}

/// What stays in a partition's queue holds the partition, and where its topic is gone nobody
/// else takes it out: the client would wait for it for ever when it ends.
void KafkaSubscriber::discard(Held& held) {
    held.fetched.clear();
    std::array<rd_kafka_message_t*, kFetchMessages> raw{};
    ssize_t count = 0;
    while ((count = rd_kafka_consume_batch_queue(held.queue.get(), 0, raw.data(), raw.size())) >
           0) {
        for (ssize_t i = 0; i < count; ++i) {
            rd_kafka_message_destroy(raw[static_cast<std::size_t>(i)]);
        }
    }
}

/// Every change of a group's members has a number; the library tells it only in what it writes
/// for transactions: seven bytes of mark, then the number.
std::uint64_t KafkaSubscriber::generation() const {
    constexpr std::string_view kMark = "CGMDv2:";
    const GroupMetadata metadata(rd_kafka_consumer_group_metadata(client_.get()));
    void* bytes = nullptr;
    std::size_t size = 0;
    if (metadata == nullptr ||
        rd_kafka_consumer_group_metadata_write(metadata.get(), &bytes, &size) != nullptr) {
        return 0;
    }
    std::int32_t number = 0;
    const std::string_view text(static_cast<const char*>(bytes), size);
    if (text.starts_with(kMark) && size >= kMark.size() + sizeof(number)) {
        std::memcpy(&number, text.data() + kMark.size(), sizeof(number));
    }
    rd_kafka_mem_free(client_.get(), bytes);
    return static_cast<std::uint64_t>(std::max(number, 0));
}

Result<void> KafkaSubscriber::take_assigned() {
    if (assigned_ == nullptr) {
        return {};
    }
    const PartitionList committed(rd_kafka_topic_partition_list_copy(assigned_.get()));
    if (committed->cnt > 0) {
        const auto error = rd_kafka_committed(client_.get(), committed.get(), timeout_ms(timeout_));
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return refused("read what is acknowledged", error);
        }
    }
    std::vector<TopicPartition> partitions;
    for (const auto& entry : all_of(*committed)) {
        partitions.push_back({entry.topic, static_cast<std::uint32_t>(entry.partition)});
    }
    INSTEP_TRY_ASSIGN(const OffsetRanges ranges, control_.find_ranges(partitions));
    const std::uint64_t epoch = generation();
    std::vector<Held> taken;
    const PartitionList first = make_list(committed->cnt);
    for (std::size_t i = 0; i < partitions.size(); ++i) {
        const auto range = ranges.find(partitions[i]);
        if (range == ranges.end()) {
            return refused("find its partitions", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        }
        std::int64_t offset = all_of(*committed)[i].offset;
        if (offset < 0) {
            offset = range->second.first;
            add(*first, partitions[i].topic, partitions[i].partition, offset, kOurs);
        }
        INSTEP_TRY_ASSIGN(Held held, hold(partitions[i].partition, epoch, offset, range->second));
        all_of(*assigned_)[i].offset = offset;
        taken.push_back(std::move(held));
    }
    if (first->cnt > 0) {
        INSTEP_TRY(commit(*first));
    }
    const PartitionList assigned = std::move(assigned_);
    const ClientError error(rd_kafka_incremental_assign(client_.get(), assigned.get()));
    if (error != nullptr) {
        return refused("take partitions", rd_kafka_error_code(error.get()));
    }
    std::ranges::move(taken, std::back_inserter(held_));
    std::ranges::sort(held_, {}, &Held::partition);
    return {};
}

Result<KafkaSubscriber::Held> KafkaSubscriber::hold(std::uint32_t partition, std::uint64_t epoch,
                                                    std::int64_t committed, OffsetRange range) {
    const auto position = static_cast<Position>(committed);
    Held held{.partition = partition,
              .epoch = epoch,
              .acknowledged = position,
              .done = position,
              .read = position,
              .is_leaving = false,
              .failure = {},
              .queue = nullptr,
              .message_bytes = kFetchBytes / 16,
              .fetched = {}};
    held.queue.reset(rd_kafka_queue_get_partition(client_.get(), options_.topic.c_str(),
                                                  static_cast<std::int32_t>(partition)));
    if (held.queue == nullptr) {
        return refused("read a partition", RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
    }
    rd_kafka_queue_forward(held.queue.get(), nullptr);
    rd_kafka_queue_cb_event_enable(
        held.queue.get(),
        [](rd_kafka_t*, void* arrival) { static_cast<Signal*>(arrival)->notify(); }, &arrival_);
    if (committed < range.first || committed > range.end) {
        held.failure =
            Error{ErrorCode::kCorrupt,
                  fmt::format("partition {} of topic {} holds offsets {} to {}, and subscription "
                              "{} needs them from {}: the server has deleted or lost events. Stop "
                              "the members, run kafka-consumer-groups.sh --reset-offsets "
                              "--to-earliest for the group, start them, and fill replicas again",
                              partition, options_.topic, range.first, range.end,
                              options_.subscription, committed)};
    }
    return held;
}

/// librdkafka 2.0 ends the process when a client goes that has asked to be let in and has no answer
/// yet (its issue 4312).
void KafkaSubscriber::await_answer() {
    const auto until = std::chrono::steady_clock::now() + timeout_;
    while (is_subscribed_ && !is_answered_ && !failure_ && trouble().empty() &&
           std::chrono::steady_clock::now() < until) {
        arrival_.wait({}, arrivals_seen_, 50ms);
        // Whatever it says, the member goes.
        [[maybe_unused]] const auto served = serve();
    }
}

void KafkaSubscriber::close() {
    if (client_ == nullptr) {
        return;
    }
    await_answer();
    if (trouble().empty()) {
        // What the server does not get to know is delivered again.
        std::ignore = await_commits();
    }
    is_closing_ = true;
    if (revoked_ != nullptr) {
        const PartitionList leaving = std::move(revoked_);
        give_up(*leaving);
    }
    if (assigned_ != nullptr) {
        const PartitionList unused = std::move(assigned_);
        const ClientError ignored(rd_kafka_incremental_assign(client_.get(), unused.get()));
    }
    std::vector<Held> last = std::move(held_);
    held_.clear();
    const Queue queue(rd_kafka_queue_new(client_.get()));
    const ClientError refusal(rd_kafka_consumer_close_queue(client_.get(), queue.get()));
    const auto until = std::chrono::steady_clock::now() + timeout_;
    while (refusal == nullptr && rd_kafka_consumer_closed(client_.get()) == 0 &&
           std::chrono::steady_clock::now() < until) {
        const Answer answer(rd_kafka_queue_poll(queue.get(), 50));
        if (answer != nullptr && rd_kafka_event_type(answer.get()) == RD_KAFKA_EVENT_REBALANCE) {
            rebalanced(rd_kafka_event_error(answer.get()),
                       *rd_kafka_event_topic_partition_list(answer.get()));
            if (assigned_ != nullptr) {
                rd_kafka_assign(client_.get(), nullptr);
                assigned_.reset();
            }
        }
    }
    std::ranges::for_each(last, discard);
    last.clear();
    queue_.reset();
    commit_answers_.reset();
    client_.reset();
}

}  // namespace instep::kafka_broker
