// Environment variables in the texts of a service file.
#pragma once

#include "instep/base/error.hpp"
#include "instep/config/service_file.hpp"

#include <string>
#include <string_view>

namespace instep {

/// Replaces ${NAME} by the variable, and ${NAME:-default} by the default where the variable is
/// not set or empty. `$${` stands for `${` itself. Errors: kConfigInvalid, without a place.
Result<std::string> interpolate(std::string_view text, const Environment& environment);

}  // namespace instep
