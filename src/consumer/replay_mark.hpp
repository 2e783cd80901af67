// How an event says that a replay brought it: an attribute that only the consumer gives it, and
// that stays with it where it is parked.
#pragma once

#include "instep/event/event.hpp"

#include <cstdint>
#include <optional>

namespace instep {

/// 0 marks an event that the replay passes over.
void mark_replayed(Event& event, std::uint64_t replay);

/// Takes away what somebody else may have written.
void remove_replay_mark(Event& event);

/// Nothing for an event that no replay brought.
std::optional<std::uint64_t> replay_mark(const Event& event);

inline bool is_passed_over(const Event& event) { return replay_mark(event) == 0U; }

}  // namespace instep
