// The only place that knows backends by name.
#pragma once

#include <string>
#include <string_view>

namespace instep {

/// The path of a "sqlite:…" or "embedded:…" URL.
std::string path_of(std::string_view url);

}  // namespace instep
