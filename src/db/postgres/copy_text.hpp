#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"

#include <string>

namespace instep::postgres {

/// The rows in the text format of COPY. Errors: kRejected for a text that holds a zero byte.
Result<std::string> copy_text(ParameterRows rows);

}  // namespace instep::postgres
