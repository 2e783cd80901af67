#include "subscriber.hpp"

#include "instep/broker/checks.hpp"
#include "instep/broker/kafka/broker.hpp"
#include "message.hpp"

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

/// With it a group's offsets tell that the group is a subscription of ours.
constexpr std::string_view kOurs = "instep";

/// Messages and bytes taken from the library at once; it fetches more for what is taken.
constexpr std::size_t kFetchMessages = 500;
constexpr std::size_t kFetchBytes = 1U << 20U;

/// How long an acknowledgement follows a rebalance that is under way.
constexpr auto kRebalancePatience = 3s;

/// The longest wait for a group that does not let a new member in, since another member has to
/// drain first.
constexpr std::chrono::milliseconds kJoinPatience = 2s;

/// How often a topic that does not exist yet is looked for.
constexpr auto kTopicLook = 200ms;

PartitionList make_list(int size) { return PartitionList(rd_kafka_topic_partition_list_new(size)); }

std::span<rd_kafka_topic_partition_t> all_of(const rd_kafka_topic_partition_list_t& list) {
    return {list.elems, static_cast<std::size_t>(list.cnt)};
}

void add(rd_kafka_topic_partition_list_t& list, std::string_view topic, std::uint32_t partition,
         std::int64_t offset, std::string_view metadata) {
    auto* entry = rd_kafka_topic_partition_list_add(&list, std::string(topic).c_str(),
                                                    static_cast<std::int32_t>(partition));
    entry->offset = offset;
    // The list frees it with free().
    entry->metadata = std::malloc(metadata.size());
    std::memcpy(entry->metadata, metadata.data(), metadata.size());
    entry->metadata_size = metadata.size();
}

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

struct KafkaSubscriber::Room {
    std::size_t events;
    std::size_t bytes;
};

KafkaSubscriber::KafkaSubscriber(const Cluster& cluster, Control& control, SubscribeOptions options,
                                 std::chrono::milliseconds timeout)
    : cluster_(cluster), control_(control), options_(std::move(options)), timeout_(timeout) {}

KafkaSubscriber::~KafkaSubscriber() { close(); }

Result<std::unique_ptr<KafkaSubscriber>> KafkaSubscriber::join(const Cluster& cluster,
                                                               Control& control,
                                                               SubscribeOptions options,
                                                               std::chrono::milliseconds timeout) {
    auto subscriber =
        std::make_unique<KafkaSubscriber>(cluster, control, std::move(options), timeout);
    INSTEP_TRY(subscriber->open());
    return subscriber;
}

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

Result<std::vector<Assignment>> KafkaSubscriber::assignments() {
    INSTEP_TRY(subscribe_to_topic());
    INSTEP_TRY(serve());
    INSTEP_TRY(await_first_share());
    INSTEP_TRY(probe());
    give_up_drained();
    INSTEP_TRY(take_assigned());
    std::vector<Assignment> assignments;
    for (const Held& held : held_) {
        assignments.push_back(
            {.partition = held.partition, .epoch = held.epoch, .acknowledged = held.acknowledged});
    }
    return assignments;
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

Result<std::vector<Delivery>> KafkaSubscriber::receive(std::size_t events_max,
                                                       std::size_t bytes_max) {
    INSTEP_TRY(serve());
    std::vector<Delivery> deliveries;
    Room room{.events = events_max, .bytes = bytes_max};
    const std::size_t first = turn_++;
    for (std::size_t i = 0; i < held_.size() && room.events > 0; ++i) {
        Held& held = held_[(first + i) % held_.size()];
        if (!held.is_leaving) {
            deliver(held, room, deliveries);
        }
    }
    if (deliveries.empty()) {
        for (const Held& held : held_) {
            if (held.failure && !held.is_leaving) {
                return std::unexpected(*held.failure);
            }
        }
    }
    return deliveries;
}

void KafkaSubscriber::deliver(Held& held, Room& room, std::vector<Delivery>& deliveries) {
    while (room.events > 0) {
        if (held.fetched.empty()) {
            fetch(held, std::min(room.events, kFetchMessages));
            if (held.fetched.empty()) {
                return;
            }
        }
        const rd_kafka_message_t& message = *held.fetched.front();
        const std::size_t bytes = size_of(message);
        if (bytes > room.bytes && !deliveries.empty()) {
            room.events = 0;
            return;
        }
        room.bytes -= std::min(bytes, room.bytes);
        --room.events;
        held.read = position_of(message.offset);
        deliveries.push_back(read_message(message));
        held.fetched.pop_front();
    }
}

void KafkaSubscriber::fetch(Held& held, std::size_t events) {
    std::array<rd_kafka_message_t*, kFetchMessages> raw{};
    events = std::min(events, std::max<std::size_t>(1, kFetchBytes / held.message_bytes));
    const auto count = rd_kafka_consume_batch_queue(held.queue.get(), 0, raw.data(), events);
    for (ssize_t i = 0; i < count; ++i) {
        Message message(raw[static_cast<std::size_t>(i)]);
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            held.message_bytes = size_of(*message);
            // One that was under way when the partition was sought.
            if (position_of(message->offset) > held.read) {
                held.fetched.push_back(std::move(message));
            }
        } else if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
            held.failure = Error{
                ErrorCode::kCorrupt,
                fmt::format("partition {} of topic {} has no offset {} any more: the server has "
                            "deleted or lost events that subscription {} did not get",
                            held.partition, options_.topic, held.read, options_.subscription)};
        } else if (code_of(message->err) != ErrorCode::kUnavailable) {
            held.failure =
                refused(fmt::format("receive from partition {}", held.partition), message->err)
                    .error();
        }
    }
}

Result<void> KafkaSubscriber::acknowledge(std::uint32_t partition, Position position) {
    INSTEP_TRY(serve());
    const Held* held = find(partition);
    if (held == nullptr) {
        return not_held(partition);
    }
    if (position <= held->acknowledged) {
        return {};
    }
    if (position > held->read) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of partition {} was not delivered to {}", position,
                                partition, options_.member));
    }
    return commit_through_rebalance(*held, position);
}

/// While a group changes, the server refuses offsets for a moment, also those of members that
/// keep their partitions.
Result<void> KafkaSubscriber::commit_through_rebalance(const Held& held, Position position) {
    const std::uint32_t partition = held.partition;
    const std::uint64_t epoch = held.epoch;
    const PartitionList list = make_list(1);
    add(*list, options_.topic, partition, static_cast<std::int64_t>(position), kOurs);
    const auto until = std::chrono::steady_clock::now() + kRebalancePatience;
    while (true) {
        auto committed = commit(*list);
        Held* still_held = find(partition);
        if (committed) {
            if (still_held != nullptr) {
                still_held->acknowledged = position;
            }
            return committed;
        }
        const ErrorCode code = committed.error().code;
        if (code == ErrorCode::kFenced) {
            // The library learns the same with its next heartbeat, and takes it away then.
            std::erase_if(held_, [&](const Held& lost) { return lost.partition == partition; });
            return committed;
        }
        if (code != ErrorCode::kBusy || std::chrono::steady_clock::now() > until) {
            return code == ErrorCode::kBusy ? not_held(partition) : committed;
        }
        arrival_.wait({}, arrivals_seen_, 20ms);
        INSTEP_TRY(serve());
        still_held = find(partition);
        if (still_held == nullptr || still_held->epoch != epoch) {
            return not_held(partition);
        }
    }
}

/// Errors: kFenced; kBusy while the group changes.
Result<void> KafkaSubscriber::commit(const rd_kafka_topic_partition_list_t& offsets) {
    const auto until = std::chrono::steady_clock::now() + timeout_;
    const Queue queue(rd_kafka_queue_new(client_.get()));
    while (true) {
        const auto sent =
            rd_kafka_commit_queue(client_.get(), &offsets, queue.get(), nullptr, nullptr);
        if (sent != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return refused("acknowledge", sent);
        }
        const Answer answer(rd_kafka_queue_poll(queue.get(), timeout_ms(timeout_)));
        if (answer == nullptr) {
            return refused("acknowledge", RD_KAFKA_RESP_ERR__TIMED_OUT);
        }
        auto error = rd_kafka_event_error(answer.get());
        if (const auto* list = rd_kafka_event_topic_partition_list(answer.get())) {
            for (const auto& entry : all_of(*list)) {
                error = error == RD_KAFKA_RESP_ERR_NO_ERROR ? entry.err : error;
            }
        }
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
            return {};
        }
        // The number of the group's next change is known to the server a moment before us.
        if (error == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS ||
            error == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION) {
            return fail(ErrorCode::kBusy, "the group is changing");
        }
        if (!is_coordinator_moving(error) || std::chrono::steady_clock::now() > until) {
            return refused("acknowledge", error);
        }
        arrival_.wait({}, arrival_.count(), 50ms);
    }
}

Result<void> KafkaSubscriber::seek(std::uint32_t partition, Position position) {
    INSTEP_TRY(serve());
    Held* held = find(partition);
    if (held == nullptr) {
        return not_held(partition);
    }
    if (position > std::max(held->read, held->acknowledged)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of partition {} was neither delivered nor "
                                "acknowledged",
                                position, partition));
    }
    if (position == held->read) {
        return {};
    }
    const PartitionList list = make_list(1);
    add(*list, options_.topic, partition, static_cast<std::int64_t>(position), "");
    const ClientError error(
        rd_kafka_seek_partitions(client_.get(), list.get(), timeout_ms(timeout_)));
    const auto code = error != nullptr ? rd_kafka_error_code(error.get()) : list->elems[0].err;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return refused(fmt::format("go back in partition {}", partition), code);
    }
    held->fetched.clear();
    held->read = position;
    return {};
}

Result<void> KafkaSubscriber::rewind(std::uint32_t partition, Position position) {
    INSTEP_TRY(serve());
    const Held* held = find(partition);
    if (held == nullptr) {
        return not_held(partition);
    }
    INSTEP_TRY(check_rewind({partition, held->acknowledged, held->read}, position));
    const TopicPartition place{options_.topic, partition};
    INSTEP_TRY_ASSIGN(const OffsetRanges ranges, control_.find_ranges(std::span(&place, 1)));
    const auto range = ranges.find(place);
    if (range == ranges.end() || position < static_cast<Position>(range->second.first)) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("offset {} of partition {} of topic {} has been deleted", position,
                                partition, options_.topic));
    }
    INSTEP_TRY(seek(partition, position));
    held = find(partition);
    return held == nullptr ? not_held(partition) : commit_through_rebalance(*held, position);
}

void KafkaSubscriber::wait(std::stop_token stop, std::chrono::milliseconds patience) {
    // The member's time must not run out while its thread waits here.
    auto left = std::min(patience, options_.member_timeout / 3);
    const auto until = std::chrono::steady_clock::now() + left;
    while (!is_subscribed_ && left > 0ms && !stop.stop_requested()) {
        const auto found = find_topic();
        if (!found || *found) {
            topic_looked_for_ = {};
            return;
        }
        arrival_.wait(stop, arrival_.count(), std::min(left, kTopicLook));
        left =
            std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    }
    while (left > 0ms && !stop.stop_requested()) {
        const std::uint64_t seen = arrival_.count();
        if (has_news()) {
            return;
        }
        arrival_.wait(stop, seen, left);
        left =
            std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    }
}

/// Takes what has arrived, since the library also announces what is nothing to the caller.
bool KafkaSubscriber::has_news() {
    const std::size_t held_before = held_.size();
    if (!serve() || assigned_ != nullptr || failure_ || held_.size() != held_before) {
        return true;
    }
    return std::ranges::any_of(held_, [this](Held& held) {
        if (held.is_leaving) {
            return held.is_drained();
        }
        if (held.fetched.empty()) {
            fetch(held, kFetchMessages);
        }
        return !held.fetched.empty() || held.failure;
    });
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
    client_.reset();
}

KafkaSubscriber::Held* KafkaSubscriber::find(std::uint32_t partition) {
    const auto held = std::ranges::find(held_, partition, &Held::partition);
    return held == held_.end() ? nullptr : &*held;
}

std::unexpected<Error> KafkaSubscriber::not_held(std::uint32_t partition) const {
    return fail(ErrorCode::kFenced, fmt::format("partition {} of topic {} is no longer held by {}",
                                                partition, options_.topic, options_.member));
}

std::unexpected<Error> KafkaSubscriber::refused(std::string_view what, rd_kafka_resp_err_t error) {
    return fail_with(fmt::format("subscription {} to topic {} at {}: {}", options_.subscription,
                                 options_.topic, cluster_.display_url, what),
                     error, *this);
}

}  // namespace instep::kafka_broker
