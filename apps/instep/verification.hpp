// What verify and repair have in common.
#pragma once

#include "command.hpp"
#include "instep/replica/verification.hpp"
#include "output.hpp"
#include "replica_session.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace instep::cli {

/// Differences that are listed for each replica; the rest is counted.
inline constexpr std::uint32_t kDifferencesShown = 20;

struct VerificationOptions {
    std::vector<std::string> files;
    std::string table;
    std::optional<std::chrono::milliseconds> timeout = std::chrono::seconds(60);
};

/// How one replica compares to its source.
struct VerificationOutcome {
    ReplicaDefinition definition;
    VerificationStatus status;

    /// The first kDifferencesShown of them.
    std::vector<Difference> differences;
};

void declare_verification(Command& command, VerificationOptions& options);

/// Verifies all replicas of the session at once, each as soon as it is live. Errors:
/// kRejected if an owner refuses; kTimeout; kClosed when interrupted.
Result<std::vector<VerificationOutcome>> run_verification(Context& context,
                                                          const VerificationOptions& options,
                                                          VerificationPurpose purpose);

/// Members of instep.verify/1 and instep.repair/1 for each replica.
JsonObject to_json(const VerificationOutcome& outcome);

/// The keys that differ; prints nothing if none does.
void show_differences(Output& output, std::span<const VerificationOutcome> outcomes);

}  // namespace instep::cli
