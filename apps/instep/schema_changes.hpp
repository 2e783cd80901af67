// What plan and apply have in common.
#pragma once

#include "output.hpp"
#include "services.hpp"

#include <span>
#include <string_view>

namespace instep::cli {

/// How many statements in all.
std::size_t count_changes(std::span<const ServiceChanges> services);

/// `schema` is "instep.plan/1" or "instep.apply/1".
JsonObject to_json(std::string_view schema, std::span<const ServiceChanges> services);

}  // namespace instep::cli
