// What people do about the subscription whose effects are counted.
#pragma once

#include "instep/consumer/dead_letters.hpp"
#include "tests/simulation/environment.hpp"

#include <cstdint>
#include <memory>

namespace instep::simulation {

/// For one thing that somebody does. Borrows both.
class SubscriptionOperator {
public:
    SubscriptionOperator(Environment& environment, ReplicaSite& site)
        : environment_(environment), site_(site) {}

    /// Retries, edits or discards what was set aside, pauses or resumes the subscription, or asks
    /// for a replay. Returns how much was done. Errors: kConflict where a replay cannot be; those
    /// of Connection.
    Result<std::uint64_t> act();

private:
    Result<void> decide(Transaction& transaction, const ParkedKey& chosen);
    Result<void> edit(Transaction& transaction, const ParkedKey& chosen);
    Result<void> pause_or_resume(Transaction& transaction);
    Result<void> ask_for_replay(Transaction& transaction);

    std::uint64_t draw(std::uint64_t end) { return environment_.random.below(end); }

    Environment& environment_;
    ReplicaSite& site_;
    const Operator by_{"operator", "simulated"};
};

}  // namespace instep::simulation
