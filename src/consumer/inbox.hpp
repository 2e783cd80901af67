// The record of what has taken effect, or never will.
#pragma once

#include "instep/db/connection.hpp"
#include "instep/event/event.hpp"

#include <string_view>

namespace instep {

/// From now on the event counts as handled: at all, or in the replay that brings it.
Result<void> remember_handled(Transaction& transaction, std::string_view subscription,
                              const Event& event, Timestamp now);

}  // namespace instep
