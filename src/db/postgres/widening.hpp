#pragma once

#include <string_view>

namespace instep::postgres {

/// True if type `to` has every value of another type `from`, so that ALTER COLUMN TYPE loses
/// nothing. Both as format_type() writes them.
bool widens(std::string_view from, std::string_view to);

}  // namespace instep::postgres
