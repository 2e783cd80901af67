#include "subscriber.hpp"

#include "message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace instep::embedded_broker {

/// What is left of one receive() call's bounds.
struct EmbeddedSubscriber::Room {
    std::size_t events;
    std::size_t bytes;
};

namespace {

std::unexpected<Error> not_held(const MemberIdentity& identity, std::uint32_t partition) {
    return fail(ErrorCode::kFenced, fmt::format("partition {} of topic {} is no longer held by {}",
                                                partition, identity.topic, identity.name));
}

}  // namespace

EmbeddedSubscriber::EmbeddedSubscriber(std::unique_ptr<Connection> connection, const Clock& clock,
                                       MemberIdentity identity,
                                       std::chrono::milliseconds idle_poll_max, Signal& published)
    : connection_(std::move(connection)),
      identity_(std::move(identity)),
      membership_(*connection_, clock, identity_),
      idle_poll_max_(idle_poll_max),
      published_(published) {}

EmbeddedSubscriber::~EmbeddedSubscriber() {
    if (membership_.leave()) {
        published_.notify();
    }
}

Result<std::vector<Assignment>> EmbeddedSubscriber::assignments() {
    if (auto refreshed = membership_.refresh(); !refreshed) {
        return fail_in(
            fmt::format("partitions of topic {} for {}", identity_.topic, identity_.name),
            std::move(refreshed).error());
    }
    std::vector<Assignment> assignments;
    for (const Held& held : membership_.held()) {
        assignments.push_back(
            {.partition = held.partition, .epoch = held.epoch, .acknowledged = held.acknowledged});
    }
    return assignments;
}

Result<std::vector<Delivery>> EmbeddedSubscriber::receive(std::size_t events_max,
                                                          std::size_t bytes_max) {
    std::vector<Delivery> deliveries;
    std::vector<Held>& held = membership_.held();
    INSTEP_TRY_ASSIGN(const bool alive, membership_.is_alive());
    if (!alive || held.empty()) {
        return deliveries;
    }
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*connection_, TransactionMode::kRead));
    INSTEP_TRY(read_heads(transaction));
    Room room{.events = events_max, .bytes = bytes_max};
    const std::size_t first = turn_++;
    // Positions move only when the whole call succeeds: what is not returned was not delivered.
    std::vector<Held> advanced = held;
    for (std::size_t i = 0; i < advanced.size() && room.events > 0; ++i) {
        Held& partition = advanced[(first + i) % advanced.size()];
        if (has_unread(partition)) {
            INSTEP_TRY(read_partition(transaction, partition, room, deliveries));
        }
    }
    held = std::move(advanced);
    if (!deliveries.empty()) {
        pause_ = std::chrono::milliseconds(1);
    }
    return deliveries;
}

Result<void> EmbeddedSubscriber::read_heads(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(auto row, transaction.query("SELECT next_offset - 1 FROM instep_slot "
                                                  "WHERE topic = $1 ORDER BY partition",
                                                  {std::string_view(identity_.topic)}));
    heads_.clear();
    while (true) {
        INSTEP_TRY_ASSIGN(const bool found, row->next());
        if (!found) {
            return {};
        }
        heads_.push_back(static_cast<Position>(row->integer(0)));
    }
}

Result<void> EmbeddedSubscriber::read_partition(Transaction& transaction, Held& held, Room& room,
                                                std::vector<Delivery>& deliveries) {
    INSTEP_TRY_ASSIGN(auto row, transaction.query(kSelectMessages,
                                                  {row_id(held.slot, held.read),
                                                   row_id(held.slot, heads_[held.partition] + 1)}));
    while (room.events > 0) {
        INSTEP_TRY_ASSIGN(const bool found, row->next());
        if (!found) {
            return {};
        }
        Delivery delivery = read_message(*row, held.partition);
        const std::size_t bytes = event_bytes(delivery.event);
        if (bytes > room.bytes && !deliveries.empty()) {
            room.events = 0;
            return {};
        }
        room.bytes -= std::min(bytes, room.bytes);
        --room.events;
        held.read = delivery.position;
        deliveries.push_back(std::move(delivery));
    }
    return {};
}

Result<void> EmbeddedSubscriber::acknowledge(std::uint32_t partition, Position position) {
    Held* held = membership_.find(partition);
    if (held == nullptr) {
        return not_held(identity_, partition);
    }
    if (position <= held->acknowledged) {
        return {};
    }
    if (position > held->read) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of partition {} was not delivered to {}", position,
                                partition, identity_.name));
    }
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*connection_, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(
        const std::int64_t moved,
        transaction.execute(
            "UPDATE instep_subscription_slot SET acknowledged = $1 "
            "WHERE slot = $2 AND subscription = $3 AND holder = $4 AND epoch = $5",
            {static_cast<std::int64_t>(position), held->slot, identity_.subscription,
             std::string_view(identity_.name), static_cast<std::int64_t>(held->epoch)}));
    if (moved == 0) {
        membership_.forget(partition);
        return not_held(identity_, partition);
    }
    INSTEP_TRY(transaction.commit());
    held->acknowledged = position;
    return {};
}

Result<void> EmbeddedSubscriber::seek(std::uint32_t partition, Position position) {
    Held* held = membership_.find(partition);
    if (held == nullptr) {
        return not_held(identity_, partition);
    }
    if (position > std::max(held->read, held->acknowledged)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of partition {} was neither delivered nor "
                                "acknowledged",
                                position, partition));
    }
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*connection_, TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(
        auto row,
        transaction.query("SELECT 1 FROM instep_subscription_slot WHERE slot = $1 "
                          "AND subscription = $2 AND holder = $3 AND epoch = $4",
                          {held->slot, identity_.subscription, std::string_view(identity_.name),
                           static_cast<std::int64_t>(held->epoch)}));
    INSTEP_TRY_ASSIGN(const bool is_holder, row->next());
    if (!is_holder) {
        membership_.forget(partition);
        return not_held(identity_, partition);
    }
    held->read = position;
    return {};
}

void EmbeddedSubscriber::wait(std::stop_token stop, std::chrono::milliseconds patience) {
    // The member's time must not run out while its thread waits here.
    auto left = std::min(patience, identity_.timeout / 3);
    for (bool is_first = true; !stop.stop_requested(); is_first = false) {
        const std::uint64_t seen = published_.count();
        // An error is for the next receive() to report.
        const auto token = connection_->change_token();
        if (!token) {
            return;
        }
        if (is_first || *token != change_token_) {
            change_token_ = *token;
            if (const auto news = has_news(); !news || *news) {
                return;
            }
        }
        if (left <= std::chrono::milliseconds(0)) {
            return;
        }
        const auto pause = std::min(pause_, left);
        published_.wait(stop, seen, pause);
        left -= pause;
        pause_ = std::min(pause_ * 2, idle_poll_max_);
    }
}

Result<bool> EmbeddedSubscriber::has_news() {
    INSTEP_TRY_ASSIGN(const bool members_changed, membership_.has_news());
    if (members_changed) {
        return true;
    }
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*connection_, TransactionMode::kRead));
    INSTEP_TRY(read_heads(transaction));
    return std::ranges::any_of(membership_.held(),
                               [&](const Held& held) { return has_unread(held); });
}

bool EmbeddedSubscriber::has_unread(const Held& held) const {
    return held.state == Held::State::kServing && heads_[held.partition] > held.read;
}

}  // namespace instep::embedded_broker
