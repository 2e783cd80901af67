#include "leader.hpp"

#include <fmt/format.h>

#include <chrono>

namespace instep::rabbitmq {

namespace {

/// Beside what others do with the link.
constexpr amqp_channel_t kChannel = 7;

/// A leader answers within milliseconds. Without one the server waits for a minute, or ends the
/// connection.
constexpr std::chrono::seconds kLeaderPatience{3};

/// What the server answers to basic.get; kTimeout if it does not.
Result<void> ask_for_message(Link& link, std::string_view queue) {
    INSTEP_TRY(link.open_channel(kChannel));
    INSTEP_TRY(link.ask_for_message(kChannel, queue));
    INSTEP_TRY_ASSIGN(const auto frame, link.next_frame(kLeaderPatience));
    if (!frame) {
        return fail(ErrorCode::kTimeout, fmt::format("queue {} does not answer", queue));
    }
    if (frame->frame_type == AMQP_FRAME_METHOD &&
        frame->payload.method.id == AMQP_CHANNEL_CLOSE_METHOD) {
        return std::unexpected(link.closed_by_server(*frame));
    }
    return {};
}

}  // namespace

/// The leader of such a queue refuses basic.get (405): so nothing is taken out of it. Whoever else
/// answers gives no message away either, since the link is dropped with it.
Result<bool> has_leader(Reconnect& reconnect, std::string_view queue) {
    INSTEP_TRY_ASSIGN(Link* const link, reconnect.link());
    const auto answered = ask_for_message(*link, queue);
    if (!answered && answered.error().code == ErrorCode::kBusy) {
        return true;
    }
    reconnect.drop();
    if (answered || answered.error().code == ErrorCode::kTimeout ||
        answered.error().message.contains("INTERNAL_ERROR")) {
        return answered.has_value();
    }
    return std::unexpected(answered.error());
}

}  // namespace instep::rabbitmq
