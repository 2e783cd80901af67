#include "stream.hpp"

#include <fmt/format.h>

namespace instep::rabbitmq {

namespace {

/// Beside what others do with the link: one to look at the end, one to write.
constexpr amqp_channel_t kWriteChannel = 2;
constexpr amqp_channel_t kEndChannel = 5;

/// More than the server stores together, so that all of that is sent at once.
constexpr std::uint16_t kPrefetch = 10'000;

}  // namespace

std::uint64_t offset_of(const amqp_basic_properties_t& properties) {
    for (int i = 0; i < properties.headers.num_entries; ++i) {
        const amqp_table_entry_t& entry = properties.headers.entries[i];
        if (text_of(entry.key) == "x-stream-offset") {
            return entry.value.value.u64;
        }
    }
    return 0;
}

Result<std::optional<amqp_frame_t>> await_frame(Link& link, amqp_channel_t channel,
                                                std::chrono::milliseconds patience) {
    for (;;) {
        INSTEP_TRY_ASSIGN(const auto frame, link.next_frame(patience));
        if (!link.blocked().empty()) {
            return fail(ErrorCode::kStorageFull,
                        fmt::format("RabbitMQ takes no messages now ({}); free disk or memory "
                                    "there",
                                    link.blocked()));
        }
        if (!frame || frame->channel == channel) {
            return frame;
        }
        link.release(frame->channel);
    }
}

Result<void> append_to_stream(Link& link, std::string_view stream,
                              const amqp_basic_properties_t& properties, std::string_view body) {
    return with_channel(link, kWriteChannel, [&]() -> Result<void> {
        INSTEP_TRY(link.select_confirms(kWriteChannel));
        INSTEP_TRY(link.publish(kWriteChannel, "", stream, properties, body));
        INSTEP_TRY_ASSIGN(const auto frame, await_frame(link, kWriteChannel, kPatience));
        if (frame && frame->frame_type == AMQP_FRAME_METHOD &&
            frame->payload.method.id == AMQP_BASIC_ACK_METHOD) {
            return {};
        }
        return fail(ErrorCode::kUnavailable,
                    fmt::format("stream {} did not take a record; try again", stream));
    });
}

Result<std::optional<std::uint64_t>> read_stream_end(Link& link, std::string_view stream,
                                                     std::chrono::milliseconds patience) {
    std::optional<std::uint64_t> end;
    const auto read = [&]() -> Result<void> {
        INSTEP_TRY(link.limit_prefetch(kEndChannel, kPrefetch));
        INSTEP_TRY(link.consume(kEndChannel, stream, "end", Link::Acknowledge::kLater,
                                {text_entry("x-stream-offset", "last")}));
        INSTEP_TRY(for_each_message(link, kEndChannel, patience, [&](Assembly& message) {
            end = offset_of(message.properties());
            return false;
        }));
        // What is stored together is sent together, and before this call's answer.
        INSTEP_TRY(link.limit_prefetch(kEndChannel, kPrefetch));
        INSTEP_TRY(for_each_message(link, kEndChannel, std::chrono::milliseconds(0),
                                    [&](Assembly& message) {
                                        end = offset_of(message.properties());
                                        return true;
                                    }));
        return {};
    };
    INSTEP_TRY(with_channel(link, kEndChannel, read));
    return end;
}

}  // namespace instep::rabbitmq
