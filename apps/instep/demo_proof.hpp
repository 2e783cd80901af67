// Proof that the replicas of a demo equal iam's users, in two ways, neither trusting the other: by
// `instep verify`, and by reading all rows on both sides.
#pragma once

#include "demo_system.hpp"
#include "instep/base/error.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace instep::cli {

/// Rows of a table in key order, as one number.
struct TableDigest {
    std::uint64_t rows = 0;
    std::uint64_t hash = 0;

    friend bool operator==(const TableDigest&, const TableDigest&) = default;
};

struct ReplicaProof {
    std::string name;
    TableDigest content;

    /// What verification found.
    std::uint64_t differences = 0;
};

struct Proof {
    TableDigest users;
    std::vector<ReplicaProof> replicas;

    /// As verification counts them; one if only the content says that something differs.
    [[nodiscard]] std::uint64_t differences(std::size_t replica) const;
    [[nodiscard]] std::uint64_t differences() const;
};

/// Verifies all replicas, in the order of DemoSystem::replicas(); all services must run.
/// Returns how many differences each has. Errors: kTimeout when nothing moves for half a minute.
Result<std::vector<std::uint64_t>> verify_replicas(DemoSystem& system);

/// Waits until the replicas have caught up, verifies and compares. Changes that others make
/// meanwhile make it start over, a few times.
Result<Proof> prove(DemoSystem& system);

}  // namespace instep::cli
