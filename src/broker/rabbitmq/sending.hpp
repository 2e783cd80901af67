// Numbers by which whoever reads a queue sees that events never came to it.
//
// The server confirms a message once all queues have it that are bound. Of one whose binding was
// removed, or that somebody emptied, it tells nobody. So a publisher numbers what it sends to a
// partition, and says with each message how many were confirmed before: those a queue holds, unless
// it lost them.
#pragma once

#include <amqp.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace instep::rabbitmq {

/// The header that holds it. Other programs need not mind it.
inline constexpr std::string_view kSendingHeader = "instep_sending";

/// The place of a message in a run: what one publisher sends to one partition as long as all of it
/// is confirmed.
struct Sending {
    /// Drawn at random.
    std::uint64_t run = 0;

    /// From 1.
    std::uint64_t number = 0;

    /// So many, from the first, were confirmed before this one was sent.
    std::uint64_t confirmed = 0;
};

std::string to_text(const Sending& sending);

/// Nothing for a message that another program published.
std::optional<Sending> sending_of(const amqp_basic_properties_t& properties);

/// What came of a queue to a reader that gets all of it, in order. What came before it is not known
/// to it, and not missed.
class Arrivals {
public:
    /// Takes what came next, or came again; returns how many events are known now to have been
    /// confirmed before and never to have come.
    std::uint64_t take(const Sending& sending);

private:
    struct Run {
        std::uint64_t id = 0;

        /// The number that came last.
        std::uint64_t last = 0;

        /// Below it, and not known to have been confirmed.
        std::uint64_t absent = 0;
    };

    /// The runs that something came of last, the newest in front.
    std::deque<Run> runs_;
};

}  // namespace instep::rabbitmq
