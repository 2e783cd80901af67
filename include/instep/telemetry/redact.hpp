#pragma once

#include <string>
#include <string_view>

namespace instep {

/// The URL as logs and errors may show it: `user:password@` becomes `user:***@`, and so do the
/// values of parameters that are named like a secret. Hides too much rather than too little
/// where the URL is malformed.
std::string redact_url(std::string_view url);

}  // namespace instep
