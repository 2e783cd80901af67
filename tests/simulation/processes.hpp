// The simulated processes. Each owns its connections and is made anew after a crash; leases
// and memberships carry the name of its fiber.
#pragma once

#include "tests/simulation/environment.hpp"

#include <cstdint>
#include <memory>

namespace instep::simulation {

class Process {
public:
    virtual ~Process() = default;

    /// Opens what the process needs.
    virtual Result<void> start() = 0;

    /// One round; returns how much was done.
    virtual Result<std::uint64_t> work() = 0;
};

/// Changes rows of the owner's table by plain SQL, as an application does.
std::unique_ptr<Process> make_writer(Environment& environment);

/// Relays the owner's log and answers scans, all partitions of it.
std::unique_ptr<Process> make_relay(Environment& environment);

/// Takes in scan requests for the owner.
std::unique_ptr<Process> make_request_consumer(Environment& environment);

/// Keeps a replica and relays its requests.
std::unique_ptr<Process> make_replica(Environment& environment, ReplicaSite& site);

/// Keeps the replicas of the group, in one subscription, and relays their requests.
std::unique_ptr<Process> make_group(Environment& environment);

/// Counts the effects of each event.
std::unique_ptr<Process> make_effects_consumer(Environment& environment, ReplicaSite& site);

/// Asks for backfills and verifications, trims, restarts the broker.
std::unique_ptr<Process> make_operator(Environment& environment);

}  // namespace instep::simulation
