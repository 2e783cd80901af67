// The thread of a subscriber.
#include "instep/broker/event_batch.hpp"
#include "subscriber.hpp"
#include "topology.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <poll.h>
#include <utility>

namespace instep::rabbitmq {

namespace {

/// Events that wait in memory, beside one that may be larger.
constexpr std::size_t kReadyBytesMax = 16U << 20U;

/// Frames read under one lock, so that the member's own thread gets its turn.
constexpr int kFramesPerTurn = 500;

/// How long poll() waits at most: heartbeats, of 1 s and more, are sent from here.
constexpr std::chrono::milliseconds kTick{200};

constexpr std::chrono::milliseconds kNoWait{0};

}  // namespace

void RabbitmqSubscriber::read_until_stopped(const std::stop_token& stop) {
    bool has_more = false;
    while (!stop.stop_requested()) {
        std::array<pollfd, 2> sockets{};
        sockets[0] = {.fd = wakeup_.descriptor(), .events = POLLIN, .revents = 0};
        sockets[1] = {.fd = -1, .events = POLLIN, .revents = 0};
        {
            const Lock lock(mutex_);
            if (Link* const link = reconnect_.current();
                link != nullptr && ready_bytes_ < kReadyBytesMax) {
                sockets[1].fd = link->socket();
            }
        }
        ::poll(sockets.data(), sockets.size(), has_more ? 0 : static_cast<int>(kTick.count()));
        wakeup_.clear();
        has_more = read_some();
    }
}

/// True if it stopped before everything that had arrived was read.
bool RabbitmqSubscriber::read_some() {
    const Lock lock(mutex_);
    step_down_if_silent();
    Link* const link = reconnect_.current();
    if (link == nullptr || generation_ != reconnect_.generation()) {
        return false;
    }
    if (ready_bytes_ >= kReadyBytesMax) {
        // The library sends heartbeats only while it reads.
        const amqp_frame_t heartbeat{
            .frame_type = AMQP_FRAME_HEARTBEAT, .channel = 0, .payload = {}};
        amqp_send_frame(link->handle(), &heartbeat);
        return false;
    }
    bool has_more = true;
    for (int frames = 0; frames < kFramesPerTurn && has_more && ready_bytes_ < kReadyBytesMax;
         ++frames) {
        const auto frame = link->next_frame(kNoWait);
        Result<void> taken = frame ? Result<void>{} : std::unexpected(frame.error());
        has_more = frame && frame->has_value();
        if (has_more) {
            taken = take_frame(*link, **frame);
        }
        if (!taken) {
            // The next call connects again.
            reconnect_.drop();
            forget_link();
            has_more = false;
        }
    }
    changed_.notify_all();
    return has_more && ready_bytes_ < kReadyBytesMax;
}

void RabbitmqSubscriber::step_down_if_silent() {
    if (is_waiting_ || reconnect_.current() == nullptr ||
        clock_.monotonic() - called_at_ < options_.member_timeout) {
        return;
    }
    reconnect_.drop();
    forget_link();
}

/// What arrived while the library waited for an answer.
Result<void> RabbitmqSubscriber::take_queued(Link& link) {
    while (link.is_alive() && amqp_frames_enqueued(link.handle()) != 0) {
        INSTEP_TRY_ASSIGN(const auto frame, link.next_frame(kNoWait));
        if (frame) {
            INSTEP_TRY(take_frame(link, *frame));
        }
    }
    return {};
}

Result<void> RabbitmqSubscriber::take_frame(Link& link, const amqp_frame_t& frame) {
    if (frame.channel == kControlChannel) {
        return take_control_frame(link, frame);
    }
    const auto found = std::ranges::find_if(
        held_, [&](const auto& entry) { return entry.second.channel == frame.channel; });
    if (found == held_.end()) {
        link.release(frame.channel);
        return {};
    }
    Held& held = found->second;
    if (frame.frame_type != AMQP_FRAME_METHOD) {
        if (held.assembly.add(frame) == Assembly::Progress::kComplete) {
            INSTEP_TRY(take_message(link, held));
            link.release(frame.channel);
        }
        return {};
    }
    switch (frame.payload.method.id) {
        case AMQP_BASIC_DELIVER_METHOD:
            held.received =
                static_cast<amqp_basic_deliver_t*>(frame.payload.method.decoded)->delivery_tag;
            held.assembly.begin();
            break;
        case AMQP_BASIC_CANCEL_METHOD: {
            const std::string queue = held.has_stream()
                                          ? past_name(options_.topic, held.partition)
                                          : queue_name(options_.subscription, held.partition);
            INSTEP_TRY(link.close_channel(held.channel));
            lose(link, held.partition,
                 Error{ErrorCode::kNotFound,
                       fmt::format("{} ended the delivery from queue {}: it was deleted, or its "
                                   "node went down",
                                   address_.display_url, queue)});
            break;
        }
        case AMQP_CHANNEL_CLOSE_METHOD:
            lose(link, held.partition, link.closed_by_server(frame));
            break;
        default:
            break;
    }
    return {};
}

/// The channel is closed; whoever should hold the partition takes it again.
void RabbitmqSubscriber::lose(Link& link, std::uint32_t partition, Error error) {
    for (const Delivery& delivery : held_.at(partition).ready) {
        ready_bytes_ -= event_bytes(delivery.event);
    }
    held_.erase(partition);
    std::ignore = membership_.give_up(link, partition);
    refresh_at_ = clock_.monotonic();
    failure_ = std::move(error);
}

Result<void> RabbitmqSubscriber::take_message(Link& link, Held& held) {
    Delivery delivery = read_message(held.assembly.properties(), std::move(held.assembly.body()),
                                     held.partition, held.position(held.received));
    if (held.past) {
        INSTEP_TRY_ASSIGN(const bool is_wanted, is_in_stretch(link, held, delivery));
        if (!is_wanted) {
            return {};
        }
    } else if (const auto sending = sending_of(held.assembly.properties())) {
        missed_ += held.arrivals.take(*sending);
    }
    held.pending.push_back({.tag = held.received, .time = delivery.event.time});
    if (held.received > held.skipped) {
        ready_bytes_ += event_bytes(delivery.event);
        held.ready.push_back(std::move(delivery));
    }
    return {};
}

Result<void> RabbitmqSubscriber::take_control_frame(Link& link, const amqp_frame_t& frame) {
    if (frame.frame_type != AMQP_FRAME_METHOD) {
        if (question_.add(frame) == Assembly::Progress::kComplete) {
            if (std::exchange(is_question_, false)) {
                INSTEP_TRY(answer(link));
            }
            link.release(frame.channel);
        }
        return {};
    }
    switch (frame.payload.method.id) {
        case AMQP_BASIC_DELIVER_METHOD: {
            const std::string_view tag = text_of(
                static_cast<amqp_basic_deliver_t*>(frame.payload.method.decoded)->consumer_tag);
            const std::string_view number = tag.substr(tag.find('.') + 1);
            is_question_ =
                std::from_chars(number.data(), number.data() + number.size(), asked_partition_)
                    .ec == std::errc{};
            question_.begin();
            return {};
        }
        case AMQP_BASIC_RETURN_METHOD:
            question_.begin();
            return {};
        case AMQP_CHANNEL_CLOSE_METHOD:
            return std::unexpected(link.closed_by_server(frame));
        case AMQP_BASIC_CANCEL_METHOD:
            return fail(ErrorCode::kUnavailable,
                        fmt::format("{}: a queue by which members share was deleted",
                                    address_.display_url));
        default:
            return {};
    }
}

Result<void> RabbitmqSubscriber::answer(Link& link) {
    const amqp_basic_properties_t& asked = question_.properties();
    const auto held = held_.find(asked_partition_);
    if (held == held_.end() || (asked._flags & AMQP_BASIC_REPLY_TO_FLAG) == 0) {
        return {};
    }
    const std::string text = to_text(report_of(held->second));
    amqp_basic_properties_t properties{};
    if ((asked._flags & AMQP_BASIC_CORRELATION_ID_FLAG) != 0) {
        properties._flags = AMQP_BASIC_CORRELATION_ID_FLAG;
        properties.correlation_id = asked.correlation_id;
    }
    return link.publish(kControlChannel, "", text_of(asked.reply_to), properties, text);
}

}  // namespace instep::rabbitmq
