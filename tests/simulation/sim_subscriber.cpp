#include "tests/simulation/sim_subscriber.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::simulation {

SimSubscriber::~SimSubscriber() {
    if (!broker_.chaos().scheduler().is_dead()) {
        leave();
    }
}

Result<void> SimSubscriber::enter() {
    INSTEP_TRY(broker_.enter());
    if (broker_.chaos().strikes(&Faults::cut_off)) {
        broker_.chaos().scheduler().trace("cut off", options_.subscription, options_.member);
        leave();
        const auto belief_max = static_cast<std::uint64_t>(broker_.belief_max().count());
        believes_until_ = broker_.now() +
                          std::chrono::milliseconds{broker_.chaos().random().below(belief_max + 1)};
    }
    return {};
}

void SimSubscriber::leave() {
    auto& members = subscription().members;
    const auto member = members.find(options_.member);
    if (member != members.end() && member->second.session == session_) {
        members.erase(member);
    }
    for (const auto& slot : subscription().slots) {
        if (slot->is_held_by(session_)) {
            slot->set_free();
        }
    }
}

Result<std::vector<Assignment>> SimSubscriber::assignments() {
    INSTEP_TRY(broker_.enter());
    broker_.make_slots(subscription());
    if (broker_.now() >= believes_until_) {
        renew();
        share_out();
    }
    std::vector<Assignment> assignments;
    assignments.reserve(held_.size());
    for (const Held& held : held_) {
        assignments.push_back({held.partition, held.epoch, held.acknowledged});
    }
    return assignments;
}

void SimSubscriber::renew() {
    auto& members = subscription().members;
    std::erase_if(members,
                  [&](const auto& member) { return member.second.until <= broker_.now(); });
    members[options_.member] = {session_, broker_.now() + options_.member_timeout};
}

/// As many partitions each, but for one; takes what nobody living holds.
void SimSubscriber::share_out() {
    std::erase_if(held_, [&](const Held& held) {
        const bool is_lost = !slot(held).is_held(held);
        if (is_lost) {
            slot(held).lost(held);
        }
        return is_lost;
    });
    const auto& members = subscription().members;
    const auto rank =
        static_cast<std::size_t>(std::distance(members.begin(), members.find(options_.member)));
    const std::size_t partitions = subscription().slots.size();
    const std::size_t fair =
        partitions / members.size() + (rank < partitions % members.size() ? 1 : 0);
    give_up_more_than(fair);
    take_free(fair);
    if (held_.size() <= fair) {
        std::ranges::for_each(held_, [](Held& held) { held.leaving = false; });
    }
}

void SimSubscriber::give_up_more_than(std::size_t fair) {
    for (std::size_t i = held_.size(); i > 0 && held_.size() > fair; --i) {
        Held& held = held_[i - 1];
        held.leaving = true;
        if (held.read <= held.acknowledged) {
            slot(held).set_free();
            held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i - 1));
        }
    }
}

void SimSubscriber::take_free(std::size_t fair) {
    const auto& members = subscription().members;
    for (std::uint32_t p = 0; p < subscription().slots.size() && held_.size() < fair; ++p) {
        Slot& slot = *subscription().slots[p];
        const bool is_taken = std::ranges::any_of(
            members, [&](const auto& member) { return slot.is_held_by(member.second.session); });
        if (!is_taken) {
            slot.give_to(session_, held_.emplace_back(Held{.partition = p}));
        }
    }
}

Result<std::vector<Delivery>> SimSubscriber::receive(std::size_t events_max,
                                                     std::size_t bytes_max) {
    INSTEP_TRY(enter());
    Chaos& chaos = broker_.chaos();
    std::vector<Delivery> deliveries;
    if (chaos.strikes(&Faults::fewer)) {
        events_max = chaos.random().below(events_max + 1);
    }
    for (Held& held : held_) {
        const bool is_former = !slot(held).is_held(held);
        if (held.leaving || (is_former && !chaos.strikes(&Faults::stale_delivery))) {
            continue;
        }
        if (!is_former && chaos.strikes(&Faults::redelivered)) {
            read_again(held, held.acknowledged);
        }
        fetch(held, events_max - std::min(events_max, deliveries.size()));
        give_out(held, events_max, bytes_max, deliveries);
    }
    chaos.scheduler().trace("receive", options_.subscription, fmt::format("{}", deliveries.size()));
    return deliveries;
}

void SimSubscriber::fetch(Held& held, std::size_t count) {
    if (count == 0 || held.ahead.size() >= count) {
        return;
    }
    count -= held.ahead.size();
    count += broker_.chaos().random().below(broker_.ahead_max() + 1);
    if (!options_.acknowledges_late) {
        const std::size_t under_way = held.fetched - std::min(held.fetched, held.acknowledged);
        count = std::min(count, broker_.unacknowledged_max() -
                                    std::min(broker_.unacknowledged_max(), under_way));
    }
    if (slot(held).is_held(held)) {
        slot(held).fetch(held, count);
    } else {
        slot(held).fetch_for_former(held, count);
    }
}

void SimSubscriber::give_out(Held& held, std::size_t events_max, std::size_t bytes_max,
                             std::vector<Delivery>& deliveries) {
    std::size_t bytes = 0;
    while (!held.ahead.empty() && deliveries.size() < events_max && bytes <= bytes_max) {
        Held::Fetched& next = held.ahead.front();
        bytes += next.event.data.size();
        held.read = next.position;
        deliveries.push_back({held.partition, next.position, std::move(next.event), std::nullopt});
        held.ahead.pop_front();
    }
}

Result<void> SimSubscriber::acknowledge(std::uint32_t partition, Position position) {
    INSTEP_TRY(enter());
    const auto unavailable = [] {
        return fail(ErrorCode::kUnavailable, "simulated: the acknowledgement is lost");
    };
    const bool is_lost = broker_.chaos().strikes(&Faults::acknowledge_lost);
    if (is_lost && broker_.chaos().random().below(2) == 0) {
        return unavailable();
    }
    INSTEP_TRY_ASSIGN(Held* const held, find(partition));
    slot(*held).acknowledge(*held, position);
    held->acknowledged = std::max(held->acknowledged, position);
    broker_.chaos().scheduler().trace("ack", options_.subscription, fmt::format("{}", position));
    if (is_lost) {
        return unavailable();
    }
    return {};
}

Result<void> SimSubscriber::seek(std::uint32_t partition, Position position) {
    INSTEP_TRY(enter());
    INSTEP_TRY_ASSIGN(Held* const held, find(partition));
    read_again(*held, position);
    return {};
}

Result<void> SimSubscriber::rewind(std::uint32_t partition, Position position) {
    INSTEP_TRY(enter());
    if (!broker_.features().replays) {
        return Subscriber::rewind(partition, position);
    }
    INSTEP_TRY_ASSIGN(Held* const held, find(partition));
    if (position > held->acknowledged) {
        return fail(ErrorCode::kInvalidArgument, "simulated: the position was not acknowledged");
    }
    if (position < (*broker_.find_topic(options_.topic))[partition].before()) {
        return fail(ErrorCode::kNotFound, "simulated: events behind the position were deleted");
    }
    slot(*held).rewind(position);
    read_again(*held, position);
    held->acknowledged = position;
    broker_.chaos().scheduler().trace("rewind", options_.subscription, fmt::format("{}", position));
    if (broker_.chaos().strikes(&Faults::acknowledge_lost)) {
        return fail(ErrorCode::kUnavailable, "simulated: the answer is lost");
    }
    return {};
}

void SimSubscriber::read_again(Held& held, Position position) const {
    slot(held).seek(held, position);
    held.ahead.clear();
    held.read = position;
}

Result<Held*> SimSubscriber::find(std::uint32_t partition) {
    const auto held = std::ranges::find(held_, partition, &Held::partition);
    if (held != held_.end() && slot(*held).is_held(*held)) {
        return &*held;
    }
    if (held != held_.end()) {
        slot(*held).lost(*held);
        held_.erase(held);
    }
    return fail(ErrorCode::kFenced, "the partition is no longer held");
}

}  // namespace instep::simulation
