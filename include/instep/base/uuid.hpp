// UUIDs of version 7 (RFC 9562): 48 bits of time, then random bits; text sorts by time.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/random.hpp"

#include <cstdint>
#include <string>

namespace instep {

/// A new version-7 UUID as 36 lower-case characters. Ids made within one millisecond
/// sort in no particular order.
std::string make_uuid_v7(const Clock& clock, Random& random);

/// The version-7 UUID with these 74 random bits (12 from `high`, 62 from `low`). The same
/// arguments give the same id, so an id can be derived again instead of being stored.
std::string uuid_v7_from(Timestamp time, std::uint64_t high, std::uint64_t low);

}  // namespace instep
