#include "subscriber.hpp"

#include "instep/broker/checks.hpp"
#include "message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace instep::kafka_broker {

namespace {

using namespace std::chrono_literals;

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

Result<void> KafkaSubscriber::seek(std::uint32_t partition, Position position) {
    INSTEP_TRY(serve());
    Held* held = find(partition);
    if (held == nullptr) {
        return not_held(partition);
    }
    if (position > std::max(held->read, held->done)) {
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
    INSTEP_TRY(check_rewind({partition, held->done, held->read}, position));
    const TopicPartition place{options_.topic, partition};
    INSTEP_TRY_ASSIGN(const OffsetRanges ranges, control_.find_ranges(std::span(&place, 1)));
    const auto range = ranges.find(place);
    if (range == ranges.end() || position < static_cast<Position>(range->second.first)) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("offset {} of partition {} of topic {} has been deleted", position,
                                partition, options_.topic));
    }
    INSTEP_TRY(seek(partition, position));
    Held* const back = find(partition);
    if (back == nullptr) {
        return not_held(partition);
    }
    back->done = position;
    INSTEP_TRY(await_commits());
    return find(partition) == nullptr ? not_held(partition) : Result<void>{};
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
        arrival_.wait(stop, seen, has_uncommitted() ? std::min(left, kCommitPause) : left);
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
