// A topic's past: for each partition a stream that gets what its subscriptions' queues get.
//
// A queue forgets what is acknowledged; the stream keeps it for a time. A place in it is a position
// too: the message's offset and one. Such positions lie far below those of queues, which begin with
// the time of an assignment in microseconds.
#pragma once

#include "instep/broker/broker.hpp"
#include "link.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instep::rabbitmq {

/// For so long an event may stand in the stream and not in a queue yet, or the other way.
inline constexpr std::chrono::milliseconds kBothPatience{250};

/// What a partition goes through, in place of its queue, after the subscription was taken back.
///
/// It ends before the first message of the queue, which comes, with all that is behind it, from
/// there.
///
///     kWaiting    looks at the queue's first message, while what is under way gets into both
///     kSearching  looks for that message in the stream, from its end backwards, a block at a time
///     kReading    gives out what is before it; all, if the queue was empty
///
/// A first message that is not found is older than what is read, and so nothing is read; but it may
/// also have come just now, so the first time that leads to kWaiting once more.
struct Past {
    enum class Phase : std::uint8_t { kWaiting, kSearching, kReading } phase = Phase::kWaiting;

    /// What is read stands behind `begin` and not behind `end`.
    Position begin = 0;
    Position end = 0;

    /// Where the queue's positions go on.
    Position queue_base = 0;

    /// When kWaiting ends.
    std::chrono::microseconds waits_until{0};

    /// Which sending is the queue's first; nothing if it is empty.
    std::optional<std::string> first_in_queue{};

    /// What is searched stands behind `searched_from` and not behind `searched_to`.
    Position searched_from = 0;
    Position searched_to = 0;
    bool is_found = false;
    bool is_searched = false;
    int searches_failed = 0;

    /// Whether go_on() can do something.
    [[nodiscard]] bool is_due(std::chrono::microseconds now) const;

    /// Whether go_on() has to know where the stream ends now.
    [[nodiscard]] bool begins_search() const {
        return phase == Phase::kWaiting && first_in_queue && begin < end;
    }

    /// The next phase, or the next block.
    void go_on(std::chrono::microseconds now, Position newest);

    /// While it searches: whether the message at the position is the one.
    void look_at(Position position, std::string_view sending);

private:
    void search_before(Position position);
    void read();
};

/// What the streams of the topic hold; empty if there is no such topic. Errors: kUnsupported if its
/// past is not kept; kNotFound if one of several streams is missing; those of Link.
Result<std::vector<KeptEvents>> read_kept(Link& link, std::string_view topic);

}  // namespace instep::rabbitmq
