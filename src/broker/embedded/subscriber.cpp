#include "subscriber.hpp"

#include "instep/broker/checks.hpp"
#include "instep/broker/event_batch.hpp"
#include "message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace instep::embedded_broker {

/// What is left of one receive() call's bounds.
struct EmbeddedSubscriber::Room {
    std::size_t events;
    std::size_t bytes;
};

namespace {

/// For so long an acknowledgement may lie in memory while others have the file locked.
constexpr std::chrono::seconds kStoreWithin{1};

std::unexpected<Error> not_held(const MemberIdentity& identity, std::uint32_t partition) {
    return fail(ErrorCode::kFenced, fmt::format("partition {} of topic {} is no longer held by {}",
                                                partition, identity.topic, identity.name));
}

}  // namespace

EmbeddedSubscriber::EmbeddedSubscriber(std::unique_ptr<Connection> connection,
                                       std::unique_ptr<Connection> impatient, const Clock& clock,
                                       MemberIdentity identity,
                                       std::chrono::milliseconds idle_poll_max, Signal& published)
    : connection_(std::move(connection)),
      impatient_(std::move(impatient)),
      clock_(clock),
      identity_(std::move(identity)),
      membership_(*connection_, clock, identity_),
      idle_poll_max_(idle_poll_max),
      published_(published),
      stored_at_(clock.monotonic()) {}

EmbeddedSubscriber::~EmbeddedSubscriber() {
    // What is not stored is delivered again.
    std::ignore = store_done(*connection_);
    if (membership_.leave()) {
        published_.notify();
    }
}

Result<std::vector<Assignment>> EmbeddedSubscriber::assignments() {
    // Also where nobody waits for events, such as a consumer that is paused.
    std::ignore = store_done(*impatient_);
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
    if (position <= held->done) {
        return {};
    }
    if (position > held->read) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of partition {} was not delivered to {}", position,
                                partition, identity_.name));
    }
    held->done = position;
    auto stored = store_done(*impatient_);
    if (stored || stored.error().code != ErrorCode::kBusy) {
        return stored;
    }
    // A publisher holds the lock most of the time while it has much to say. Whoever waits for it
    // here works no faster than it does.
    return clock_.monotonic() - stored_at_ < kStoreWithin ? Result<void>()
                                                          : store_done(*connection_);
}

/// Stores what the member said it was done with.
Result<void> EmbeddedSubscriber::store_done(Connection& connection) {
    const auto is_stored = [](const Held& held) { return held.done <= held.acknowledged; };
    if (std::ranges::all_of(membership_.held(), is_stored)) {
        stored_at_ = clock_.monotonic();
        return {};
    }
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(connection, TransactionMode::kWrite));
    std::vector<std::uint32_t> lost;
    for (const Held& held : membership_.held()) {
        if (is_stored(held)) {
            continue;
        }
        INSTEP_TRY_ASSIGN(
            const std::int64_t moved,
            transaction.execute(
                "UPDATE instep_subscription_slot SET acknowledged = $1 "
                "WHERE slot = $2 AND subscription = $3 AND holder = $4 AND epoch = $5",
                {static_cast<std::int64_t>(held.done), held.slot, identity_.subscription,
                 std::string_view(identity_.name), static_cast<std::int64_t>(held.epoch)}));
        if (moved == 0) {
            lost.push_back(held.partition);
        }
    }
    INSTEP_TRY(transaction.commit());
    stored_at_ = clock_.monotonic();
    for (Held& held : membership_.held()) {
        held.acknowledged = std::max(held.acknowledged, held.done);
    }
    for (const std::uint32_t partition : lost) {
        membership_.forget(partition);
    }
    return lost.empty() ? Result<void>() : not_held(identity_, lost.front());
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

Result<void> EmbeddedSubscriber::rewind(std::uint32_t partition, Position position) {
    Held* held = membership_.find(partition);
    if (held == nullptr) {
        return not_held(identity_, partition);
    }
    INSTEP_TRY(check_rewind({partition, held->done, held->read}, position));
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*connection_, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(
        auto row,
        transaction.query(
            fmt::format("UPDATE instep_subscription_slot AS share SET acknowledged = $1 WHERE "
                        "slot = $2 AND subscription = $3 AND holder = $4 AND epoch = $5 "
                        "RETURNING (SELECT {} FROM instep_slot AS slot WHERE slot.id = $2)",
                        kBeforeKept),
            {static_cast<std::int64_t>(position), held->slot, identity_.subscription,
             std::string_view(identity_.name), static_cast<std::int64_t>(held->epoch)}));
    INSTEP_TRY_ASSIGN(const bool moved, row->next());
    if (!moved) {
        membership_.forget(partition);
        return not_held(identity_, partition);
    }
    if (const auto before = static_cast<Position>(row->integer(0)); position < before) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("events up to position {} in partition {} of topic {} have been "
                                "deleted",
                                before, partition, identity_.topic));
    }
    row.reset();
    INSTEP_TRY(transaction.commit());
    held->acknowledged = position;
    held->done = position;
    held->read = position;
    return {};
}

void EmbeddedSubscriber::wait(std::stop_token stop, std::chrono::milliseconds patience) {
    // Nothing presses now. An error is for the next acknowledge() to report.
    std::ignore = store_done(*connection_);
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
