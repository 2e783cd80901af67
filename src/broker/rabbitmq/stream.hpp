// Streams: queues that keep what was read, each message under a number of its own, its offset.
//
// Each call has a channel for itself, and drops what arrives on others meanwhile: for links that
// have no other consumers.
#pragma once

#include "link.hpp"
#include "message.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace instep::rabbitmq {

/// A stream without its first message after this long is taken for empty.
inline constexpr std::chrono::milliseconds kEmptyPatience{500};

/// Where a message of a stream stands in it.
std::uint64_t offset_of(const amqp_basic_properties_t& properties);

/// Returns once the stream has stored it. Errors: those of Link.
Result<void> append_to_stream(Link& link, std::string_view stream,
                              const amqp_basic_properties_t& properties, std::string_view body);

/// The offset of the last message, or of a later one than was the last when this was called;
/// nothing if none came within `patience`. The server's own count of a stream's messages is seconds
/// old. Errors: those of Link.
Result<std::optional<std::uint64_t>> read_stream_end(Link& link, std::string_view stream,
                                                     std::chrono::milliseconds patience);

/// Nothing after `patience`.
Result<std::optional<amqp_frame_t>> await_frame(Link& link, amqp_channel_t channel,
                                                std::chrono::milliseconds patience);

/// Hands each message of a consumer to `take` until that returns false. False if nothing came
/// within `patience`.
template <class Take>
Result<bool> for_each_message(Link& link, amqp_channel_t channel,
                              std::chrono::milliseconds patience, Take take) {
    Assembly message;
    std::uint64_t tag = 0;
    for (;;) {
        INSTEP_TRY_ASSIGN(const auto frame, await_frame(link, channel, patience));
        if (!frame) {
            return false;
        }
        if (frame->frame_type != AMQP_FRAME_METHOD) {
            if (message.add(*frame) == Assembly::Progress::kComplete) {
                const bool wants_more = take(message);
                INSTEP_TRY(link.acknowledge(channel, tag));
                link.release(channel);
                if (!wants_more) {
                    return true;
                }
            }
            continue;
        }
        if (frame->payload.method.id == AMQP_CHANNEL_CLOSE_METHOD) {
            Error closed = link.closed_by_server(*frame);
            INSTEP_TRY(link.open_channel(channel));
            return std::unexpected(std::move(closed));
        }
        if (frame->payload.method.id == AMQP_BASIC_DELIVER_METHOD) {
            tag = static_cast<amqp_basic_deliver_t*>(frame->payload.method.decoded)->delivery_tag;
            message.begin();
        }
    }
}

/// Whatever comes of it, the channel is free for the next.
template <class Use>
auto with_channel(Link& link, amqp_channel_t channel, Use use) -> decltype(use()) {
    // What an earlier use of the number left in the library.
    while (link.is_alive() && amqp_frames_enqueued(link.handle()) != 0) {
        INSTEP_TRY(link.next_frame(std::chrono::milliseconds(0)));
    }
    INSTEP_TRY(link.open_channel(channel));
    auto result = use();
    if (link.is_alive()) {
        INSTEP_TRY(link.close_channel(channel));
    }
    return result;
}

}  // namespace instep::rabbitmq
