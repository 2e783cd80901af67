// How every command ends. Scripts rely on these numbers; `instep --help` lists them.
#pragma once

#include "instep/base/error.hpp"

#include <cstdint>

namespace instep::cli {

enum class ExitCode : std::uint8_t {
    kOk = 0,
    kFailed = 1,
    kUsage = 2,
    kConfigInvalid = 3,  ///< Also: `instep apply` has to be run first.
    kCannotConnect = 4,  ///< A database or broker is not to be reached or opened now.
    kNotFound = 5,
    kConflict = 6,
    kPartial = 7,
    kProblemFound = 8,  ///< A check did its work and found something.
    kTimeout = 124,
    kInterrupted = 130,
};

ExitCode exit_code_of(ErrorCode code) noexcept;

}  // namespace instep::cli
