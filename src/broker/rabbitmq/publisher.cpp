#include "publisher.hpp"

#include "instep/broker/checks.hpp"
#include "instep/broker/event_batch.hpp"
#include "sending.hpp"
#include "topology.hpp"
#include "window.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

namespace instep::rabbitmq {

namespace {

constexpr amqp_channel_t kChannel = 3;

/// Looks for confirms without waiting every so many messages.
constexpr std::size_t kSendsPerLook = 64;

/// Room in the frame that must hold all properties, and the header with the number.
constexpr std::size_t kFrameOverhead = 160;

constexpr std::chrono::seconds kNoWait{0};

/// "message size 70000 is larger than configured max size 65536" is all the server says.
std::optional<std::size_t> size_max_in(std::string_view message) {
    constexpr std::string_view kMark = "max size ";
    const auto at = message.find(kMark);
    std::size_t size = 0;
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    message.remove_prefix(at + kMark.size());
    const auto read = std::from_chars(message.data(), message.data() + message.size(), size);
    return read.ec == std::errc{} ? std::optional(size) : std::nullopt;
}

std::string place_of(const PublishBatch& batch) {
    return fmt::format("publish to partition {} of topic {}", batch.partition, batch.topic);
}

}  // namespace

RabbitmqPublisher::RabbitmqPublisher(const Address& address, const Clock& clock, Random& random)
    : address_(address),
      random_(random),
      reconnect_(address, {.name = "instep publisher"}, clock, random) {}

Result<void> RabbitmqPublisher::declare_topic(std::string_view topic, std::uint32_t partitions) {
    INSTEP_TRY_ASSIGN(Link* const link, reconnect_.link());
    return rabbitmq::declare_topic(*link, address_, topic, partitions);
}

Result<std::optional<LastPublished>> RabbitmqPublisher::last_published(
    std::string_view /*topic*/, std::uint32_t /*partition*/, std::string_view /*source*/) {
    return fail(ErrorCode::kUnsupported, "RabbitMQ does not remember what was published last");
}

PublishOutcome RabbitmqPublisher::publish(const PublishBatch& batch) {
    auto link = reconnect_.link();
    if (!link) {
        return {.durable = 0, .failure = fail_in(place_of(batch), std::move(link).error()).error()};
    }
    PublishOutcome outcome = check(batch.events);
    if (outcome.durable == 0) {
        return outcome;
    }
    PublishBatch accepted = batch;
    accepted.events = batch.events.first(outcome.durable);
    auto prepared = prepare_channel(**link);
    Window window(accepted.events, tag_);
    const std::string exchange = partition_exchange(batch.topic, batch.partition);
    Result<void> sent = prepared ? send(**link, accepted, window) : prepared;
    // A server that is dead, or so full that it does not read, cannot be asked.
    Link* const left = reconnect_.current();
    const bool can_ask = left != nullptr && left->blocked().empty();
    Result<void> judged = can_ask ? judge_returned(*left, accepted, window) : sent;
    outcome.durable = window.durable();
    if (!judged) {
        sent = std::move(judged);
    }
    if (sent) {
        runs_[exchange].confirmed += accepted.events.size();
        return outcome;
    }
    // What a queue has of this one nobody knows.
    runs_.erase(exchange);
    if (const auto size_max = size_max_in(sent.error().message);
        size_max && *size_max < data_bytes_max_) {
        data_bytes_max_ = *size_max;
        return publish(batch);
    }
    outcome.failure = fail_in(place_of(batch), std::move(sent).error()).error();
    return outcome;
}

Result<void> RabbitmqPublisher::prepare_channel(Link& link) {
    if (prepared_ == reconnect_.generation()) {
        return {};
    }
    INSTEP_TRY(link.open_channel(kChannel));
    INSTEP_TRY(link.select_confirms(kChannel));
    prepared_ = reconnect_.generation();
    tag_ = 0;
    return {};
}

Result<void> RabbitmqPublisher::send(Link& link, const PublishBatch& batch, Window& window) {
    const std::string exchange = partition_exchange(batch.topic, batch.partition);
    const Run& run = runs_.try_emplace(exchange, Run{.id = random_.next()}).first->second;
    std::size_t sends = 0;
    while (!window.is_sent() && !window.first_refused()) {
        const bool is_in_turn = window.is_in_turn();
        if (!is_in_turn && window.is_settled()) {
            INSTEP_TRY(judge_returned(link, batch, window));
            continue;
        }
        if (!is_in_turn || !window.has_room()) {
            INSTEP_TRY(take_frames(link, kPatience, window));
            continue;
        }
        if (sends++ % kSendsPerLook == 0) {
            INSTEP_TRY(take_frames(link, kNoWait, window));
        }
        const Event& event = window.next();
        const std::string sending = to_text({.run = run.id,
                                             .number = run.confirmed + window.sent() + 1,
                                             .confirmed = run.confirmed});
        INSTEP_TRY(link.publish(kChannel, exchange, routing_key_of(event),
                                envelope_.properties(event, sending), event.data));
        ++tag_;
        window.note_sent();
    }
    while (!window.is_settled()) {
        INSTEP_TRY(take_frames(link, kPatience, window));
    }
    if (const auto refused = window.first_refused()) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("{} refused event {}: a queue is full or down; look at its log",
                                address_.display_url, batch.events[*refused].id));
    }
    return {};
}

/// Takes all that has arrived; waits for something if `patience` is given.
Result<void> RabbitmqPublisher::take_frames(Link& link, std::chrono::seconds patience,
                                            Window& window) {
    // In pieces, so that an alarm raised meanwhile is seen.
    auto piece = std::min<std::chrono::milliseconds>(patience, std::chrono::seconds(1));
    for (auto waited = std::chrono::milliseconds(0);; waited += piece) {
        INSTEP_TRY_ASSIGN(auto frame, link.next_frame(piece));
        const bool has_some = frame.has_value();
        while (frame) {
            INSTEP_TRY(take_frame(link, *frame, window));
            INSTEP_TRY_ASSIGN(frame, link.next_frame(std::chrono::milliseconds(0)));
        }
        if (!link.blocked().empty()) {
            return fail(ErrorCode::kStorageFull,
                        fmt::format("{} takes no messages now ({}); free disk or memory there",
                                    address_.display_url, link.blocked()));
        }
        if (has_some || patience == kNoWait) {
            return {};
        }
        if (waited >= patience) {
            reconnect_.drop();
            return fail(ErrorCode::kTimeout, fmt::format("{} confirmed nothing for {} s",
                                                         address_.display_url, patience.count()));
        }
    }
}

Result<void> RabbitmqPublisher::take_frame(Link& link, const amqp_frame_t& frame, Window& window) {
    if (frame.channel != kChannel) {
        return {};
    }
    if (frame.frame_type != AMQP_FRAME_METHOD) {
        if (returned_.add(frame) == Assembly::Progress::kComplete) {
            const auto delivery = read_message(returned_.properties(), returned_.body(), 0, 0);
            window.note_returned(delivery.event.id);
            link.release(kChannel);
        }
        return {};
    }
    const void* method = frame.payload.method.decoded;
    switch (frame.payload.method.id) {
        case AMQP_BASIC_ACK_METHOD: {
            const auto& ack = *static_cast<const amqp_basic_ack_t*>(method);
            window.settle(ack.delivery_tag, ack.multiple != 0, true);
            break;
        }
        case AMQP_BASIC_NACK_METHOD: {
            const auto& nack = *static_cast<const amqp_basic_nack_t*>(method);
            window.settle(nack.delivery_tag, nack.multiple != 0, false);
            break;
        }
        case AMQP_BASIC_RETURN_METHOD:
            returned_.begin();
            return {};
        case AMQP_CHANNEL_CLOSE_METHOD:
            prepared_ = 0;
            return std::unexpected(link.closed_by_server(frame));
        default:
            break;
    }
    link.release(kChannel);
    return {};
}

/// An event that reached no queue is as good as published while nobody has subscribed, and
/// lost if somebody has. Error: kNotFound for the latter.
Result<void> RabbitmqPublisher::judge_returned(Link& link, const PublishBatch& batch,
                                               Window& window) {
    const auto first = window.first_unrouted();
    if (!first) {
        return {};
    }
    INSTEP_TRY_ASSIGN(const Catalogue catalogue, read_catalogue(link));
    const auto subscriptions = catalogue.subscriptions_of(batch.topic);
    if (subscriptions.empty()) {
        window.accept_unrouted();
        return {};
    }
    return fail(
        ErrorCode::kNotFound,
        fmt::format("event {} reached no queue: nothing is bound to exchange {} although "
                    "{} subscribed; start the subscriber again to make its queue anew",
                    batch.events[*first].id, partition_exchange(batch.topic, batch.partition),
                    fmt::join(subscriptions, ", ")));
}

PublishOutcome RabbitmqPublisher::check(std::span<const Event> events) {
    PublishOutcome outcome;
    for (const Event& event : events) {
        if (auto refused = refuse(event)) {
            outcome.failure =
                fail_in(fmt::format("event \"{}\"", event.id), *std::move(refused)).error();
            return outcome;
        }
        ++outcome.durable;
    }
    return outcome;
}

std::optional<Error> RabbitmqPublisher::refuse(const Event& event) {
    if (auto refused = refusal_of(event)) {
        return refused;
    }
    if (event.data.size() > data_bytes_max_) {
        return Error{ErrorCode::kLimitExceeded,
                     fmt::format("{} bytes of data are more than the {} that {} takes; raise "
                                 "max_message_size there",
                                 event.data.size(), data_bytes_max_, address_.display_url)};
    }
    const Link* link = reconnect_.current();
    // Only an event with much beside its data can be too large for the frame.
    const std::size_t attributes = event_bytes(event) - event.data.size();
    if (link == nullptr || attributes < link->frame_bytes_max() / 4) {
        return std::nullopt;
    }
    static const std::string kLongest = to_text({UINT64_MAX, UINT64_MAX, UINT64_MAX});
    envelope_.properties(event, kLongest);
    if (envelope_.header_bytes() + kFrameOverhead > link->frame_bytes_max()) {
        return Error{
            ErrorCode::kLimitExceeded,
            fmt::format("about {} bytes of attributes; one frame of {} bytes must hold "
                        "them; raise frame_max of {} or send less",
                        envelope_.header_bytes(), link->frame_bytes_max(), address_.display_url)};
    }
    return std::nullopt;
}

}  // namespace instep::rabbitmq
