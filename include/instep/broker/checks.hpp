// What every backend refuses before it asks its server.
#pragma once

#include "instep/base/error.hpp"
#include "instep/broker/broker.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace instep {

/// Errors: kInvalidArgument if a name is missing or the member's time-out is out of its bounds.
Result<void> check(const SubscribeOptions& options);

/// How far a member has got in a partition.
struct Standing {
    std::uint32_t partition = 0;
    Position acknowledged = 0;
    Position delivered = 0;
};

/// Errors: kInvalidArgument if a subscription that stands so cannot be taken back to the position.
Result<void> check_rewind(const Standing& standing, Position position);

/// Why an event cannot be published: kLimitExceeded, or kRejected for whatever else validate()
/// says; nothing if it can.
std::optional<Error> refusal_of(const Event& event);

/// How many events, from the first, may be published, and what is wrong with the next.
PublishOutcome check(std::span<const Event> events);

}  // namespace instep
