#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace instep {

/// How many keys of a subscription are set aside.
struct ParkedCounts {
    std::string subscription;

    /// Those that are tried again.
    std::uint64_t retried = 0;

    /// Dead letters, which wait for a person.
    std::uint64_t dead = 0;
};

/// Subscriptions of this database that have parked keys. Errors: those of Connection.
Result<std::vector<ParkedCounts>> count_parked(Connection& connection);

}  // namespace instep
