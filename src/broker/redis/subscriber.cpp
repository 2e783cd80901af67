#include "subscriber.hpp"

#include "instep/broker/event_batch.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::redis {

namespace {

using namespace std::chrono_literals;

constexpr auto kBlockMax = 5000ms;

/// What one answer may hold at the server while this side has not taken it.
constexpr std::size_t kAnswerBytesMax = 8U << 20;
constexpr std::size_t kMeanOver = 32;

}  // namespace

RedisSubscriber::~RedisSubscriber() {
    // Where the server is away, the time runs out instead.
    [[maybe_unused]] const auto left = membership_.leave();
}

Result<std::vector<Assignment>> RedisSubscriber::assignments() {
    // Who holds nothing has no reason to call receive(), which would see this.
    if (asked_for_.empty() && reader_.is_asking() && reader_.has_news()) {
        std::optional<Delivery> none;
        const auto read = reader_.next(none);
        if (!read || reader_.take_change()) {
            membership_.note_change();
        }
    }
    if (const auto refreshed = membership_.refresh(); !refreshed) {
        const MemberIdentity& identity = membership_.identity();
        return fail_in(fmt::format("partitions of topic {} for {}", identity.topic, identity.name),
                       refreshed.error());
    }
    std::vector<Assignment> assignments;
    for (const Held& held : membership_.held()) {
        assignments.push_back(
            {.partition = held.partition, .epoch = held.epoch, .acknowledged = held.acknowledged});
    }
    return assignments;
}

Result<std::vector<Delivery>> RedisSubscriber::receive(std::size_t events_max,
                                                       std::size_t bytes_max) {
    std::vector<Delivery> deliveries;
    if (!membership_.is_alive()) {
        return deliveries;
    }
    events_wanted_ = std::max<std::size_t>(events_max, 1);
    bytes_wanted_ = bytes_max;
    if (serving() != asked_for_) {
        forget_answer();
    }
    if (!next_ && !reader_.is_asking()) {
        if (serving().empty()) {
            return deliveries;
        }
        INSTEP_TRY(ask(0ms));
    }
    std::size_t room = bytes_max;
    while (deliveries.size() < events_max) {
        if (!next_) {
            // A later answer is taken only when it is there: what this call has is not held up.
            if (!reader_.is_asking() || !reader_.has_news()) {
                break;
            }
            auto read = reader_.next(next_);
            if (!read && deliveries.empty()) {
                return std::unexpected(std::move(read).error());
            }
            if (!read || !*read) {
                break;
            }
            if (deliveries.empty()) {
                deliveries.reserve(std::min(reader_.entries_left() + 1, events_max));
            }
        }
        Held* held = held_for(*next_);
        const std::size_t bytes = event_bytes(next_->event);
        if (held != nullptr && bytes > room && !deliveries.empty()) {
            break;
        }
        event_bytes_mean_ += bytes / kMeanOver;
        event_bytes_mean_ -= event_bytes_mean_ / kMeanOver;
        if (held != nullptr) {
            room -= std::min(bytes, room);
            held->read = next_->position;
            if (next_->position > held->acknowledged) {
                held->unacknowledged.push_back(next_->position);
            }
            deliveries.push_back(std::move(*next_));
        }
        next_.reset();
    }
    if (reader_.take_change()) {
        membership_.note_change();
    }
    // The server gets the next answer ready while the caller works on this one. An error is for
    // the next call to report.
    if (!deliveries.empty() && !next_ && !reader_.is_asking()) {
        [[maybe_unused]] const auto asked = ask(kBlockMax);
    }
    return deliveries;
}

RedisSubscriber::Share RedisSubscriber::serving() {
    Share share;
    for (const Held& held : membership_.held()) {
        if (held.state == Held::State::kServing) {
            share.emplace_back(held.partition, held.epoch);
        }
    }
    return share;
}

Result<void> RedisSubscriber::ask(std::chrono::milliseconds patience) {
    StreamReader::Question question;
    question.changes = membership_.keys().changes();
    question.change = membership_.change();
    question.patience = patience;
    for (const Held& held : membership_.held()) {
        if (held.state == Held::State::kServing) {
            question.sources.push_back({.stream = membership_.keys().stream(held.partition),
                                        .partition = held.partition,
                                        .after = held.read});
        }
    }
    const std::size_t streams = std::max<std::size_t>(question.sources.size(), 1);
    const std::size_t bytes = std::min(bytes_wanted_, kAnswerBytesMax);
    const std::size_t entries =
        std::min(events_wanted_, bytes / std::max<std::size_t>(event_bytes_mean_, 64));
    question.entries_max = std::max<std::size_t>(entries / streams, 1);
    asked_for_ = serving();
    return reader_.ask(std::move(question));
}

/// Null if the partition was lost, or is to be given up, since it was asked for.
Held* RedisSubscriber::held_for(const Delivery& delivery) {
    for (Held& held : membership_.held()) {
        if (held.partition == delivery.partition && held.state == Held::State::kServing) {
            return &held;
        }
    }
    return nullptr;
}

void RedisSubscriber::forget_answer() {
    next_.reset();
    reader_.reset();
    asked_for_ = serving();
}

Result<void> RedisSubscriber::acknowledge(std::uint32_t partition, Position position) {
    return membership_.acknowledge(partition, position);
}

Result<void> RedisSubscriber::seek(std::uint32_t partition, Position position) {
    INSTEP_TRY(membership_.seek(partition, position));
    forget_answer();
    return {};
}

Result<void> RedisSubscriber::rewind(std::uint32_t partition, Position position) {
    INSTEP_TRY(membership_.rewind(partition, position));
    forget_answer();
    return {};
}

void RedisSubscriber::wait(std::stop_token stop, std::chrono::milliseconds patience) {
    // The member's time must not run out while its thread waits here.
    const auto left = std::max(std::min(patience, membership_.identity().timeout / 3), 0ms);
    if (stop.stop_requested() || next_ || membership_.has_news()) {
        return;
    }
    if (serving() != asked_for_) {
        forget_answer();
    }
    if (!reader_.is_asking()) {
        if (const auto asked = ask(kBlockMax); !asked) {
            // The next call will say so; until then there is nothing to be had.
            stopped_.wait(-1, stop, std::min(left, std::max(reader_.pause(), 1ms)));
            return;
        }
    }
    if (!reader_.has_news()) {
        stopped_.wait(reader_.descriptor(), stop, left);
    }
}

}  // namespace instep::redis
