#pragma once

#include "instep/base/error.hpp"

#include <cstddef>
#include <string>

namespace instep {

/// The whole file. Errors: kNotFound, kPermissionDenied or kUnavailable by what the operating
/// system says; kConfigInvalid for a directory or a file of more than `bytes_max`.
Result<std::string> read_text_file(const std::string& path, std::size_t bytes_max);

}  // namespace instep
