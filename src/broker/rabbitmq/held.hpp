// A partition that a member holds, and what has come of it.
#pragma once

#include "instep/broker/broker.hpp"
#include "link.hpp"
#include "message.hpp"
#include "past.hpp"
#include "sending.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

namespace instep::rabbitmq {

/// Each held partition has a channel of its own, whose delivery tags count from 1 without a gap.
/// A tag and `base` make a position.
struct Held {
    /// What came and was not acknowledged, in order.
    struct Pending {
        std::uint64_t tag = 0;
        Timestamp time{};
    };

    std::uint32_t partition = 0;
    amqp_channel_t channel = 0;
    std::uint64_t epoch = 0;
    Position base = 0;

    /// Tags: the last that came, that receive() gave out, that was acknowledged.
    std::uint64_t received = 0;
    std::uint64_t handed = 0;
    std::uint64_t acknowledged = 0;

    /// Up to this tag nothing is given out: seek() wants what is behind it.
    std::uint64_t skipped = 0;

    /// kLeaving: no more is given out, so that the partition can be given up.
    enum class State : std::uint8_t { kServing, kLeaving } state = State::kServing;

    std::deque<Delivery> ready;
    std::deque<Pending> pending;
    Assembly assembly;
    Arrivals arrivals;

    /// Set while the channel brings the topic's past instead of the queue.
    std::optional<Past> past;

    /// Where the past was left for the queue: all before the queue's first event is acknowledged.
    std::optional<Position> left_past_at;

    /// The same holding, of which nothing has come.
    [[nodiscard]] Held anew() const {
        Held again;
        again.partition = partition;
        again.channel = channel;
        again.epoch = epoch;
        again.state = state;
        return again;
    }

    [[nodiscard]] bool is_drained() const { return handed <= acknowledged; }
    [[nodiscard]] Position position(std::uint64_t tag) const { return base + tag; }
    [[nodiscard]] bool is_in(Past::Phase phase) const { return past && past->phase == phase; }
    [[nodiscard]] bool has_stream() const { return past && !is_in(Past::Phase::kWaiting); }

    /// Whether it is time for the next phase of the past, or for the queue behind it.
    [[nodiscard]] bool is_past_due(std::chrono::microseconds now) const {
        return past && (past->phase == Past::Phase::kReading ? has_read(*past) : past->is_due(now));
    }
    [[nodiscard]] bool has_read(const Past& stretch) const {
        return stretch.phase == Past::Phase::kReading && position(acknowledged) >= stretch.end;
    }
};

/// What a holder tells of its partition to whoever asks.
struct HolderReport {
    Position acknowledged = 0;
    Position received = 0;
    std::uint64_t unacknowledged = 0;

    /// When the oldest of these was appended.
    std::optional<Timestamp> oldest;
};

HolderReport report_of(const Held& held);
std::string to_text(const HolderReport& report);

/// Nothing for a text that another version wrote.
std::optional<HolderReport> parse_report(std::string_view text);

}  // namespace instep::rabbitmq
