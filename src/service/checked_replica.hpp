// A replica as a check looks at it.
#pragma once

#include "instep/replica/replica.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace instep {

struct CheckedReplica {
    const ReplicaDefinition& definition;

    /// The tables that take in whole transactions with it, its own among them; empty if it does
    /// not.
    const std::vector<std::string>& group;

    /// What becomes of a row that its table refuses.
    [[nodiscard]] std::string_view when_refused() const {
        return group.empty() ? "is parked" : "stops all replicas that are applied with it";
    }
};

}  // namespace instep
