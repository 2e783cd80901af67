#include "membership.hpp"

#include "topology.hpp"

#include <fmt/format.h>

namespace instep::rabbitmq {

namespace {

/// False if another connection has it.
Result<bool> declare_exclusive(Link& link, std::string_view name) {
    const auto declared =
        link.declare_queue(kProbeChannel, name, {.durable = false, .exclusive = true});
    if (!declared && declared.error().code != ErrorCode::kBusy) {
        return std::unexpected(declared.error());
    }
    return declared.has_value();
}

}  // namespace

Result<void> Membership::refresh(Link& link) {
    const std::string members = members_name(subscription_);
    if (members_ == 0) {
        INSTEP_TRY(link.open_channel(kProbeChannel));
        INSTEP_TRY(link.declare_queue(kControlChannel, members, {.auto_delete = true}));
        INSTEP_TRY(link.consume(kControlChannel, members, "member", Link::Acknowledge::kNever));
    }
    INSTEP_TRY_ASSIGN(const QueueState state, link.inspect_queue(kControlChannel, members));
    members_ = state.consumers;
    if (!seat_ || *seat_ >= members_) {
        INSTEP_TRY(take_seat(link));
    }
    return {};
}

Result<void> Membership::take_seat(Link& link) {
    // Without a seat yet, a member that is leaving may still have one of the first.
    const std::size_t end = seat_ ? *seat_ : members_ + 1;
    for (std::size_t seat = 0; seat < end; ++seat) {
        INSTEP_TRY_ASSIGN(const bool taken,
                          declare_exclusive(link, seat_name(subscription_, seat)));
        if (taken) {
            if (seat_) {
                INSTEP_TRY(link.delete_queue(kControlChannel, seat_name(subscription_, *seat_)));
            }
            seat_ = seat;
            return {};
        }
    }
    return {};
}

bool Membership::should_hold(std::uint32_t partition) const {
    return seat_ && members_ > 0 && partition % members_ == *seat_;
}

Result<bool> Membership::take(Link& link, std::uint32_t partition) {
    const std::string holder = holder_name(subscription_, partition);
    INSTEP_TRY_ASSIGN(const bool taken, declare_exclusive(link, holder));
    if (taken) {
        // Where others ask how far the holder is.
        INSTEP_TRY(link.consume(kControlChannel, holder, fmt::format("holder.{}", partition),
                                Link::Acknowledge::kNever));
    }
    return taken;
}

Result<void> Membership::give_up(Link& link, std::uint32_t partition) {
    return link.delete_queue(kControlChannel, holder_name(subscription_, partition));
}

void Membership::leave(Link& link) {
    if (seat_) {
        std::ignore = link.delete_queue(kControlChannel, seat_name(subscription_, *seat_));
    }
    reset();
}

void Membership::reset() {
    members_ = 0;
    seat_.reset();
}

}  // namespace instep::rabbitmq
