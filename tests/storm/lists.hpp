// What was written against what took effect.
#pragma once

#include "instep/db/connection.hpp"
#include "tests/storm/storm.hpp"

#include <cstdint>
#include <map>
#include <string>

namespace instep::storm {

/// The length of every list, as the owner committed it.
using Lists = std::map<std::string, std::int64_t>;

/// Both throw std::runtime_error if the database cannot be read.
Lists read_lists(Connection& owner);
std::int64_t count_effects(Connection& consumer);

/// Adds what the effects of one subscription lack, have twice or have in another order. Returns
/// which numbers of which lists it lacks, a line a list.
std::string compare(const Lists& lists, Connection& consumer, StormResult& result);

}  // namespace instep::storm
