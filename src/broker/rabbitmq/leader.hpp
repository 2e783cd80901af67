#pragma once

#include "reconnect.hpp"

#include <string_view>

namespace instep::rabbitmq {

/// Whether a quorum queue with a single active consumer has a leader. A passive declare says of one
/// without that it is empty. Takes up to 3 s where there is none; the link is dropped then. Errors:
/// those of Link.
Result<bool> has_leader(Reconnect& reconnect, std::string_view queue);

}  // namespace instep::rabbitmq
