// How the members of one subscription share a topic's partitions.
//
// Each member has a seat, an exclusive queue that goes with its connection; the consumers of a
// common queue tell how many members there are. Member s of m should hold the partitions p with
// p mod m = s, and holds p while it owns the exclusive queue of p. Seats are filled from below,
// so that every member computes the same shares.
#pragma once

#include "link.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace instep::rabbitmq {

/// For what may be refused, since that closes a channel and ends its consumers.
inline constexpr amqp_channel_t kProbeChannel = 6;

/// For one thread at a time. All of it is over with the link.
class Membership {
public:
    explicit Membership(std::string subscription) : subscription_(std::move(subscription)) {}

    /// Joins if it has not, counts the members and finds a seat. Errors: those of Link.
    Result<void> refresh(Link& link);

    [[nodiscard]] bool should_hold(std::uint32_t partition) const;

    /// False if another member holds the partition.
    Result<bool> take(Link& link, std::uint32_t partition);
    Result<void> give_up(Link& link, std::uint32_t partition);

    /// Frees the seat at once instead of with the connection.
    void leave(Link& link);

    /// The link has gone.
    void reset();

private:
    Result<void> take_seat(Link& link);

    const std::string subscription_;
    std::size_t members_ = 0;
    std::optional<std::size_t> seat_;
};

}  // namespace instep::rabbitmq
