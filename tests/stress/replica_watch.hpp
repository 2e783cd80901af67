#pragma once

#include "instep/db/connection.hpp"

#include <cstdint>
#include <map>
#include <string>

namespace instep::stress {

/// Makes the database itself note, by triggers on the replica table "items", when the version of
/// a row went back or a deleted row returned as it had been.
void watch_versions(Connection& connection);

/// What the triggers noted.
std::uint64_t versions_gone_back(Connection& connection);

/// The rows of "items" by id.
std::map<std::int64_t, std::string> item_rows(Connection& connection);

/// Keys whose rows differ.
std::uint64_t wrong_rows(const std::map<std::int64_t, std::string>& source,
                         const std::map<std::int64_t, std::string>& replica);

}  // namespace instep::stress
