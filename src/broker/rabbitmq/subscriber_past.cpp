// A subscriber that is taken back to its topic's past: from the stream, and to the queue again.
#include "instep/broker/checks.hpp"
#include "stream.hpp"
#include "subscriber.hpp"
#include "topology.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace instep::rabbitmq {

/// Only this holding is taken back: AMQP has no place where a subscription's offset in a stream
/// would be kept.
Result<void> RabbitmqSubscriber::rewind(std::uint32_t partition, Position position) {
    Lock lock(mutex_);
    called_at_ = clock_.monotonic();
    INSTEP_TRY(find(partition));
    INSTEP_TRY_ASSIGN(const auto all, find_kept(lock));
    INSTEP_TRY_ASSIGN(const Held* const held, find(partition));
    const Position stands_at = held->position(held->acknowledged);
    INSTEP_TRY(check_rewind({partition, stands_at, held->position(held->handed)}, position));
    const auto kept = std::ranges::find(all, partition, &KeptEvents::partition);
    if (kept == all.end() || position < kept->before) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("events behind position {} in partition {} of topic {} have been "
                                "deleted",
                                position, partition, options_.topic));
    }
    if (position > kept->newest) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of partition {} is none of its past, which ends at {}",
                                position, partition, kept->newest));
    }
    Held again = held->anew();
    again.base = position;
    again.past = Past{.begin = position,
                      .end = kept->newest,
                      .queue_base = held->past ? held->past->queue_base : stands_at,
                      .waits_until = clock_.monotonic() + kBothPatience};
    return begin_again(std::move(again));
}

/// Partitions that are taken back go on: to the next phase of the past, or from there to the queue.
Result<void> RabbitmqSubscriber::go_on_from_past(Lock& lock) {
    std::vector<std::uint32_t> due;
    bool needs_end = false;
    for (const auto& [partition, held] : held_) {
        if (held.is_past_due(clock_.monotonic())) {
            due.push_back(partition);
            needs_end = needs_end || held.past->begins_search();
        }
    }
    std::vector<KeptEvents> kept;
    if (needs_end) {
        INSTEP_TRY_ASSIGN(kept, find_kept(lock));
    }
    for (const std::uint32_t partition : due) {
        // The connection may have gone meanwhile, or one before took in what ended this one.
        const auto found = held_.find(partition);
        if (found == held_.end() || !found->second.past) {
            continue;
        }
        const Held& held = found->second;
        Past next = *held.past;
        if (!held.has_read(next)) {
            const auto of_partition = std::ranges::find(kept, partition, &KeptEvents::partition);
            next.go_on(clock_.monotonic(),
                       of_partition == kept.end() ? next.begin : of_partition->newest);
        }
        Held again = held.anew();
        if (held.has_read(next)) {
            again.base = next.queue_base;
            again.left_past_at = held.position(held.acknowledged);
        } else {
            again.base = held.base;
            again.past = std::move(next);
        }
        INSTEP_TRY(begin_again(std::move(again)));
    }
    return {};
}

/// Unlocked: who asks for the lag meanwhile waits for the answer of this member's thread.
Result<std::vector<KeptEvents>> RabbitmqSubscriber::find_kept(Lock& lock) {
    lock.unlock();
    auto kept = find_kept_();
    lock.lock();
    return kept;
}

/// False for what is only looked at, or comes from the queue later, and where some is missing.
Result<bool> RabbitmqSubscriber::is_in_stretch(Link& link, Held& held, const Delivery& delivery) {
    const amqp_basic_properties_t& properties = held.assembly.properties();
    Past& past = *held.past;
    if (past.phase == Past::Phase::kWaiting) {
        if (!past.first_in_queue) {
            past.first_in_queue = name_of_sending(properties, delivery);
        }
        return false;
    }
    const bool is_searching = past.phase == Past::Phase::kSearching;
    const Position wanted =
        is_searching ? past.searched_from + held.received : held.position(held.received);
    if (const Position came = offset_of(properties) + 1; came != wanted) {
        const std::uint32_t partition = held.partition;
        INSTEP_TRY(link.close_channel(held.channel));
        lose(link, partition,
             Error{ErrorCode::kNotFound,
                   fmt::format("stream {} goes on at position {}, not {}: what is between has been "
                               "deleted",
                               past_name(options_.topic, partition), came, wanted)});
        return false;
    }
    if (!is_searching) {
        return wanted <= past.end;
    }
    if (!past.is_searched) {
        past.look_at(wanted, name_of_sending(properties, delivery));
        INSTEP_TRY(link.acknowledge(held.channel, held.received));
    }
    return false;
}

bool RabbitmqSubscriber::is_past_due() const {
    return std::ranges::any_of(
        held_, [&](const auto& entry) { return entry.second.is_past_due(clock_.monotonic()); });
}

}  // namespace instep::rabbitmq
