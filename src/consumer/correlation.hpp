#pragma once

#include "instep/event/event.hpp"

#include <string>

namespace instep {

/// What belongs together bears the id of the event that began it.
inline const std::string& correlation_of(const Event& event) {
    return event.correlation_id.empty() ? event.id : event.correlation_id;
}

}  // namespace instep
