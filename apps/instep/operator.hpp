// Who acts through the command, for what is recorded of it.
#pragma once

#include "instep/consumer/dead_letters.hpp"

#include <string>

namespace instep::cli {

/// `who` as given; if that is empty, the environment's USER, or the number of the user.
Operator operator_named(const std::string& who, const std::string& reason);

}  // namespace instep::cli
