#include "subscriber.hpp"

#include "catalogue.hpp"
#include "instep/broker/event_batch.hpp"
#include "topology.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace instep::rabbitmq {

/// What is left of one receive() call's bounds.
struct RabbitmqSubscriber::Room {
    std::size_t events;
    std::size_t bytes;
};

namespace {

/// Behind the channels of control, catalogue and publishing.
constexpr amqp_channel_t kFirstChannel = 10;

constexpr std::chrono::milliseconds kHurry{20};
constexpr std::uint32_t kHurriesMax = 10;

/// Between two records that events are missed.
constexpr std::chrono::seconds kTellPause{60};

/// The server takes a connection for dead after two heartbeats without a sign of life.
std::chrono::seconds heartbeat_for(std::chrono::milliseconds member_timeout) {
    return std::max(std::chrono::floor<std::chrono::seconds>(member_timeout / 2),
                    std::chrono::seconds(1));
}

}  // namespace

RabbitmqSubscriber::RabbitmqSubscriber(const Address& address, const Clock& clock, Random& random,
                                       SubscribeOptions options, FindKept find_kept)
    : address_(address),
      clock_(clock),
      options_(std::move(options)),
      find_kept_(std::move(find_kept)),
      reconnect_(address,
                 {.name = fmt::format("instep {} of {}", options_.member, options_.subscription),
                  .heartbeat = heartbeat_for(options_.member_timeout)},
                 clock, random),
      membership_(options_.subscription),
      called_at_(clock.monotonic()),
      reader_([this](const std::stop_token& stop) { read_until_stopped(stop); }) {}

RabbitmqSubscriber::~RabbitmqSubscriber() {
    reader_.request_stop();
    wakeup_.notify();
    reader_.join();
    while (!held_.empty()) {
        Link* const link = reconnect_.current();
        if (link == nullptr || !release(*link, held_.begin()->first)) {
            held_.clear();
        }
    }
    if (Link* const link = reconnect_.current(); link != nullptr) {
        membership_.leave(*link);
    }
}

Result<std::vector<Assignment>> RabbitmqSubscriber::assignments() {
    Lock lock(mutex_);
    called_at_ = clock_.monotonic();
    if (failure_) {
        return std::unexpected(*std::exchange(failure_, std::nullopt));
    }
    const std::string where =
        fmt::format("partitions of topic {} for {}", options_.topic, options_.member);
    auto link = reconnect_.link();
    if (!link) {
        forget_link();
        return fail_in(where, std::move(link).error());
    }
    if (generation_ != reconnect_.generation()) {
        forget_link();
        generation_ = reconnect_.generation();
        refresh_at_ = clock_.monotonic();
        wakeup_.notify();
    }
    if (is_refresh_due()) {
        auto refreshed = refresh(**link);
        // What an answer overtook stands in the library's queue, where no poll() sees it.
        wakeup_.notify();
        if (!refreshed) {
            if (!(*link)->is_alive()) {
                forget_link();
            }
            return fail_in(where, std::move(refreshed).error());
        }
    }
    if (auto gone_on = go_on_from_past(lock); !gone_on) {
        if (reconnect_.current() == nullptr) {
            forget_link();
        }
        return fail_in(where, std::move(gone_on).error());
    }
    std::vector<Assignment> assignments;
    for (const auto& [partition, held] : held_) {
        assignments.push_back({.partition = partition,
                               .epoch = held.epoch,
                               .acknowledged = held.position(held.acknowledged)});
    }
    return assignments;
}

bool RabbitmqSubscriber::is_refresh_due() const {
    return clock_.monotonic() >= refresh_at_ || has_missed() ||
           std::ranges::any_of(held_, [](const auto& entry) {
               return entry.second.state == Held::State::kLeaving && entry.second.is_drained();
           });
}

Result<void> RabbitmqSubscriber::refresh(Link& link) {
    const auto interval = std::chrono::microseconds(options_.member_timeout) / 3;
    refresh_at_ = clock_.monotonic() + interval;
    if (partitions_ == 0) {
        INSTEP_TRY(learn_partitions(link));
    }
    INSTEP_TRY(membership_.refresh(link));
    const std::size_t before = held_.size();
    INSTEP_TRY(share(link));
    INSTEP_TRY(bind_held(link));
    INSTEP_TRY(tell_missed());
    std::size_t wanted = 0;
    for (std::uint32_t partition = 0; partition < partitions_; ++partition) {
        wanted += membership_.should_hold(partition) ? 1 : 0;
    }
    // Something is about to happen: the topic is made, or another member gives up.
    const bool is_settled = partitions_ != 0 && held_.size() == wanted;
    hurried_refreshes_ = is_settled || held_.size() != before ? 0 : hurried_refreshes_ + 1;
    if (!is_settled) {
        const auto hurry = kHurry * (1U << std::min(hurried_refreshes_, kHurriesMax));
        refresh_at_ = clock_.monotonic() + std::min<std::chrono::microseconds>(interval, hurry);
    }
    return {};
}

Result<void> RabbitmqSubscriber::learn_partitions(Link& link) {
    INSTEP_TRY_ASSIGN(const Catalogue catalogue, read_catalogue(link));
    const auto topic = catalogue.topics.find(options_.topic);
    if (topic != catalogue.topics.end() &&
        catalogue.subscriptions.contains(options_.subscription) &&
        catalogue.subscriptions.find(options_.subscription)->second.has_queues) {
        partitions_ = topic->second;
    }
    return {};
}

Result<void> RabbitmqSubscriber::share(Link& link) {
    for (std::uint32_t partition = 0; partition < partitions_; ++partition) {
        const bool should_hold = membership_.should_hold(partition);
        const auto held = held_.find(partition);
        if (held == held_.end()) {
            if (should_hold) {
                INSTEP_TRY(take(link, partition));
            }
            continue;
        }
        held->second.state = should_hold ? Held::State::kServing : Held::State::kLeaving;
        if (!should_hold && held->second.is_drained()) {
            INSTEP_TRY(release(link, partition));
        }
    }
    return {};
}

/// A binding that somebody removed shows nowhere. What was published meanwhile is lost to the
/// queue; whoever reads the next event tells of it.
Result<void> RabbitmqSubscriber::bind_held(Link& link) {
    for (const auto& [partition, held] : held_) {
        const auto bound =
            link.bind_queue(kProbeChannel, queue_name(options_.subscription, partition),
                            partition_exchange(options_.topic, partition));
        link.release(kProbeChannel);
        // Whoever publishes the topic makes its exchanges again, and binds what there is.
        if (!bound && bound.error().code != ErrorCode::kNotFound) {
            return bound;
        }
    }
    return {};
}

bool RabbitmqSubscriber::has_missed() const {
    return missed_ > 0 && clock_.monotonic() >= tell_missed_at_;
}

/// Error: kNotFound, once for what is found missing, with a record for those who ask later.
Result<void> RabbitmqSubscriber::tell_missed() {
    if (!has_missed()) {
        return {};
    }
    // A record takes a while to confirm, and what comes on the own link meanwhile would be lost.
    INSTEP_TRY_ASSIGN(const auto aside, Link::open(address_, {.name = "instep note"}));
    INSTEP_TRY(add_missed(*aside, options_.subscription));
    tell_missed_at_ = clock_.monotonic() + kTellPause;
    return fail(ErrorCode::kNotFound,
                fmt::format("{} {} ({} more); {}", options_.subscription, kMissesEvents,
                            std::exchange(missed_, 0), kFillAgain));
}

/// Null if another member holds the partition.
Result<bool> RabbitmqSubscriber::take(Link& link, std::uint32_t partition) {
    INSTEP_TRY_ASSIGN(const bool taken, membership_.take(link, partition));
    if (!taken) {
        return false;
    }
    Held held;
    held.partition = partition;
    held.channel = static_cast<amqp_channel_t>(kFirstChannel + partition);
    held.epoch = static_cast<std::uint64_t>(clock_.now().time_since_epoch().count());
    held.base = held.epoch;
    auto started = start(link, held);
    if (!started) {
        if (link.is_alive()) {
            INSTEP_TRY(membership_.give_up(link, partition));
        }
        return std::unexpected(std::move(started).error());
    }
    held_.emplace(partition, std::move(held));
    return true;
}

/// Opens the channel and asks for everything that was not acknowledged.
Result<void> RabbitmqSubscriber::start(Link& link, Held& held) {
    // What a channel of the same number left in the library must not be taken for the new one's.
    INSTEP_TRY(take_queued(link));
    INSTEP_TRY(link.open_channel(held.channel));
    auto consumed = consume(link, held);
    if (consumed) {
        return {};
    }
    if (link.is_alive()) {
        INSTEP_TRY(link.close_channel(held.channel));
    }
    Error error = std::move(consumed).error();
    if (error.code == ErrorCode::kNotFound && !held.has_stream()) {
        error.message += fmt::format("; it {}; {}", kQueueIsMissing, kMakeQueueAnew);
    } else if (error.code == ErrorCode::kTimeout) {
        error.message +=
            "; a queue without a leader does not answer: see docs/adr/0015-rabbitmq.md";
    }
    return std::unexpected(std::move(error));
}

Result<void> RabbitmqSubscriber::consume(Link& link, const Held& held) {
    if (held.has_stream()) {
        INSTEP_TRY(link.limit_prefetch(held.channel, address_.prefetch));
        const Position behind =
            held.is_in(Past::Phase::kReading) ? held.base : held.past->searched_from;
        amqp_table_entry_t from{};
        from.key = amqp_cstring_bytes("x-stream-offset");
        from.value.kind = AMQP_FIELD_KIND_I64;
        from.value.value.i64 = static_cast<std::int64_t>(behind);
        return link.consume(held.channel, past_name(options_.topic, held.partition), "",
                            Link::Acknowledge::kLater, {from});
    }
    // 0 is no limit. Also where only the first message is looked at: those that come back to a
    // quorum queue stand behind others that came back before and were not sent again since.
    INSTEP_TRY(
        link.limit_prefetch(held.channel, options_.acknowledges_late ? 0 : address_.prefetch));
    return link.consume(held.channel, queue_name(options_.subscription, held.partition), "",
                        Link::Acknowledge::kLater);
}

/// Whatever the partition's channel brought is forgotten, and it is opened anew.
Result<void> RabbitmqSubscriber::begin_again(Held again) {
    Link& link = *reconnect_.current();
    const auto held = held_.find(again.partition);
    for (const Delivery& delivery : held->second.ready) {
        ready_bytes_ -= event_bytes(delivery.event);
    }
    held_.erase(held);
    auto started = link.close_channel(again.channel);
    if (started) {
        started = start(link, again);
    }
    wakeup_.notify();
    if (!started) {
        if (link.is_alive()) {
            INSTEP_TRY(membership_.give_up(link, again.partition));
        }
        return started;
    }
    held_.emplace(again.partition, std::move(again));
    return {};
}

/// What is pending goes back to the queue, in order, before anybody else can hold it.
Result<void> RabbitmqSubscriber::release(Link& link, std::uint32_t partition) {
    const auto held = held_.find(partition);
    const amqp_channel_t channel = held->second.channel;
    for (const Delivery& delivery : held->second.ready) {
        ready_bytes_ -= event_bytes(delivery.event);
    }
    held_.erase(held);
    INSTEP_TRY(link.close_channel(channel));
    return membership_.give_up(link, partition);
}

void RabbitmqSubscriber::forget_link() {
    held_.clear();
    ready_bytes_ = 0;
    membership_.reset();
    is_question_ = false;
    reconnect_.drop_if_dead();
}

bool RabbitmqSubscriber::has_deliverable() const {
    return std::ranges::any_of(held_, [](const auto& entry) {
        return entry.second.state == Held::State::kServing && !entry.second.ready.empty();
    });
}

Result<std::vector<Delivery>> RabbitmqSubscriber::receive(std::size_t events_max,
                                                          std::size_t bytes_max) {
    const Lock lock(mutex_);
    called_at_ = clock_.monotonic();
    std::vector<Delivery> deliveries;
    if (held_.empty()) {
        return deliveries;
    }
    Room room{.events = events_max, .bytes = bytes_max};
    const auto first = held_.lower_bound(turn_);
    for (auto next = first; next != held_.end() && room.events > 0; ++next) {
        take_ready(next->second, room, deliveries);
    }
    for (auto next = held_.begin(); next != first && room.events > 0; ++next) {
        take_ready(next->second, room, deliveries);
    }
    turn_ = first == held_.end() ? 0 : first->first + 1;
    if (!deliveries.empty()) {
        wakeup_.notify();
    }
    return deliveries;
}

void RabbitmqSubscriber::take_ready(Held& held, Room& room, std::vector<Delivery>& deliveries) {
    while (held.state == Held::State::kServing && !held.ready.empty() && room.events > 0) {
        const std::size_t bytes = event_bytes(held.ready.front().event);
        if (bytes > room.bytes && !deliveries.empty()) {
            room.events = 0;
            return;
        }
        room.bytes -= std::min(bytes, room.bytes);
        --room.events;
        ready_bytes_ -= bytes;
        held.handed = held.ready.front().position - held.base;
        deliveries.push_back(std::move(held.ready.front()));
        held.ready.pop_front();
    }
}

Result<Held*> RabbitmqSubscriber::find(std::uint32_t partition) {
    const auto held = held_.find(partition);
    if (held == held_.end() || reconnect_.current() == nullptr) {
        return fail(ErrorCode::kFenced,
                    fmt::format("partition {} of topic {} is no longer held by {}", partition,
                                options_.topic, options_.member));
    }
    return &held->second;
}

Result<void> RabbitmqSubscriber::acknowledge(std::uint32_t partition, Position position) {
    const Lock lock(mutex_);
    called_at_ = clock_.monotonic();
    INSTEP_TRY_ASSIGN(Held* const held, find(partition));
    INSTEP_TRY_ASSIGN(const std::uint64_t tag, tag_of(*held, position));
    if (tag <= held->acknowledged) {
        return {};
    }
    if (tag > held->handed) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of partition {} was not delivered to {}", position,
                                partition, options_.member));
    }
    if (auto sent = reconnect_.current()->acknowledge(held->channel, tag); !sent) {
        forget_link();
        return sent;
    }
    held->acknowledged = tag;
    while (!held->pending.empty() && held->pending.front().tag <= tag) {
        held->pending.pop_front();
    }
    return {};
}

/// The queue, or the stream, sends everything that was not acknowledged once more, with tags that
/// begin again.
Result<void> RabbitmqSubscriber::seek(std::uint32_t partition, Position position) {
    const Lock lock(mutex_);
    called_at_ = clock_.monotonic();
    INSTEP_TRY_ASSIGN(Held* const held, find(partition));
    INSTEP_TRY_ASSIGN(const std::uint64_t tag, tag_of(*held, position));
    if (tag > std::max(held->handed, held->acknowledged)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of partition {} was neither delivered nor "
                                "acknowledged",
                                position, partition));
    }
    Held again = held->anew();
    again.base = held->position(held->acknowledged);
    again.skipped = tag - std::min(tag, held->acknowledged);
    again.handed = again.skipped;
    again.arrivals = std::move(held->arrivals);
    again.past = held->past;
    again.left_past_at = held->left_past_at;
    return begin_again(std::move(again));
}

/// Counted from where the channel began. Errors: kFenced for a position of an earlier assignment.
Result<std::uint64_t> RabbitmqSubscriber::tag_of(const Held& held, Position position) const {
    if (held.left_past_at && position == *held.left_past_at) {
        return 0;
    }
    if (position < held.base) {
        return fail(ErrorCode::kFenced,
                    fmt::format("position {} of partition {} is of an earlier assignment", position,
                                held.partition));
    }
    return position - held.base;
}

/// Until then nobody need call assignments(), unless something comes.
std::chrono::microseconds RabbitmqSubscriber::next_call_due() const {
    auto due = refresh_at_;
    for (const auto& [partition, held] : held_) {
        if (held.is_in(Past::Phase::kWaiting)) {
            due = std::min(due, held.past->waits_until);
        }
    }
    return due;
}

void RabbitmqSubscriber::wait(std::stop_token stop, std::chrono::milliseconds patience) {
    Lock lock(mutex_);
    is_waiting_ = true;
    const auto until_due = std::chrono::ceil<std::chrono::milliseconds>(
        std::max(next_call_due() - clock_.monotonic(), std::chrono::microseconds(0)));
    const std::uint64_t generation = generation_;
    const bool has_link = reconnect_.current() != nullptr;
    changed_.wait_for(lock, stop, has_link ? std::min(patience, until_due) : patience, [&] {
        return has_deliverable() || is_past_due() || failure_ || generation != generation_ ||
               has_link != (reconnect_.current() != nullptr);
    });
    is_waiting_ = false;
    called_at_ = clock_.monotonic();
}

}  // namespace instep::rabbitmq
