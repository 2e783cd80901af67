// Proving that a replica equals its source, and making it so, while both are in use.
//
// The owner hashes runs of rows under one snapshot and sends the hashes through the topic,
// behind every change that the snapshot holds. When such a digest reaches the consumer, its
// replica stands exactly at that version, so it hashes the same runs and compares: the answer
// is exact, as of that version, with writers running. Runs that differ are asked for again row
// by row; a repair then asks for their rows. Hashes travel, rows do not.
#pragma once

#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/db/connection.hpp"
#include "instep/replica/replica.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// Whether differences are only recorded, or the rows are asked for too.
enum class VerificationPurpose : std::uint8_t { kVerify, kRepair };

/// Asks the owner for hashes of everything, and for a repair also for the rows of what
/// differs. Returns the verification's id. Errors: kConflict if the replica is not live;
/// those of Connection.
Result<std::string> request_verification(Transaction& transaction,
                                         const ReplicaDefinition& definition,
                                         VerificationPurpose purpose, Random& random);

/// One key that was not the same on both sides.
struct Difference {
    std::string key;

    /// "missing" at the replica, "stray" at the replica, or "different".
    std::string kind;
    bool repaired = false;
};

/// A verification or repair as its database has it.
struct VerificationStatus {
    std::string id;
    std::string table;
    VerificationPurpose purpose = VerificationPurpose::kVerify;

    /// All runs were compared, and everything that a repair asked for was applied.
    bool finished = false;

    /// Why it cannot finish, if it was refused.
    std::string problem;
    std::uint64_t rows_checked = 0;
    std::uint64_t ranges_checked = 0;
    std::uint64_t differences = 0;
    std::uint64_t repaired = 0;

    /// The newest version that was compared, as a sequence.
    std::string as_of;
};

/// Errors: kNotFound; those of Connection.
Result<VerificationStatus> read_verification(Connection& connection, std::string_view id);

/// Differences in key order, at most `count`. Errors: those of Connection.
Result<std::vector<Difference>> list_differences(Connection& connection, std::string_view id,
                                                 std::uint32_t count);

/// Forgets verifications that finished before `before`, with their differences, which count as
/// rows of their own; at most `rows_max` rows. Returns how many.
Result<std::uint64_t> trim_verifications(Transaction& transaction, Timestamp before,
                                         std::uint32_t rows_max);

}  // namespace instep
