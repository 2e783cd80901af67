// What must happen whole or not at all, and what the server alone can see at one moment.
#pragma once

#include <string_view>

namespace instep::redis {

/// The scripts by the names of their files, with the functions that they use.
std::string_view acknowledge_script();
std::string_view declare_script();
std::string_view kept_script();
std::string_view lag_script();
std::string_view leave_script();
std::string_view refresh_script();
std::string_view rewind_script();
std::string_view subscribe_script();
std::string_view trim_script();

}  // namespace instep::redis
