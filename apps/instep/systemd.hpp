#pragma once

#include <string_view>

namespace instep::cli {

/// Sends "READY=1" and the like to the socket that NOTIFY_SOCKET names, as sd_notify(3) does;
/// nothing without it. A message that cannot be sent is lost.
void notify_systemd(std::string_view state) noexcept;

}  // namespace instep::cli
