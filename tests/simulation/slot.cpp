#include "tests/simulation/slot.hpp"

#include <algorithm>

namespace instep::simulation {

void Slot::give_to(std::uint64_t session, Held& held) {
    session_ = session;
    ++epoch_;
    held.session = session_;
    held.epoch = epoch_;
    begin(held);
    held.read = held.acknowledged;
    held.fetched = held.acknowledged;
}

void Slot::restart() {
    session_ = 0;
    forget_unsafe();
}

void CursorSlot::fetch(Held& held, std::size_t count) {
    const auto& messages = log().messages;
    auto next = std::ranges::upper_bound(messages, held.fetched, {}, &Message::position);
    for (; next != messages.end() && next->visible <= now() && count > 0; ++next, --count) {
        held.fetched = next->position;
        held.ahead.push_back({next->position, next->event});
    }
}

void CursorSlot::advance(Position position) { acknowledged_ = std::max(acknowledged_, position); }

void CursorSlot::acknowledge(Held& /*held*/, Position position) {
    advance(position);
    if (random().below(4) == 0) {
        make_safe();
    }
}

/// A restart may forget that it went back, as it may forget an acknowledgement.
void CursorSlot::rewind(Position position) {
    acknowledged_ = position;
    if (random().below(4) == 0) {
        make_safe();
    }
}

std::uint64_t CursorSlot::backlog() const {
    const auto& messages = log().messages;
    const auto behind = std::ranges::upper_bound(messages, acknowledged_, {}, &Message::position);
    return static_cast<std::uint64_t>(messages.end() - behind);
}

}  // namespace instep::simulation
