// The names of our own tables on PostgreSQL.
#pragma once

#include <string>
#include <string_view>

namespace instep::postgres {

/// The schema that holds them.
inline constexpr std::string_view kOwnSchema = "instep";

/// The SQL with each of our tables, instep_x in every module, as instep.x. Strings, quoted
/// names, and other words that begin with "instep_" stay as they are.
std::string with_own_schema(std::string_view sql);

}  // namespace instep::postgres
