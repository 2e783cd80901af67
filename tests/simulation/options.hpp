// What differs from run to run besides the order of steps: drawn from the seed, so that every
// run stresses something else.
#pragma once

#include "instep/base/random.hpp"
#include "instep/consumer/consumer_options.hpp"
#include "tests/simulation/broker_kind.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace instep::simulation {

/// Probabilities that one call goes wrong in a certain way.
struct Faults {
    // Any call of a process.
    double crash = 0;

    /// The process stands still for longer than most leases.
    double pause = 0;

    // Calls of a database.
    double busy = 0;
    double unavailable = 0;

    /// A commit that is said to have failed; half of those did not.
    double commit_unknown = 0;

    // Calls of the broker.
    double broker_unavailable = 0;

    /// A publish stops before its end.
    double refused = 0;

    /// What was published is durable and reported as not.
    double confirm_lost = 0;
    double acknowledge_lost = 0;

    /// An event that reaches no queue; only where there are queues.
    double unroutable = 0;

    /// Deliveries begin again behind the acknowledged position.
    double redelivered = 0;
    double fewer = 0;

    /// A former holder of a partition still gets its events.
    double stale_delivery = 0;

    /// The broker takes a member for dead that is not.
    double cut_off = 0;

    // Handlers of the consumer that counts effects.
    double handler_failure = 0;

    /// What the handler needs goes down for a while, for all events.
    double target_down = 0;
};

/// How the consumer that counts effects deals with what its handler says.
struct Handling {
    std::uint32_t attempts_max = 0;
    OnFailure on_failure = OnFailure::kBlockKey;
    std::optional<CircuitBreakerOptions> circuit{};
    std::uint64_t parked_keys_max = 100'000;

    /// Of the events: refused until they are edited or the faults are over.
    double hopeless = 0;

    /// Of the events: the handler decides against them.
    double unwanted = 0;

    /// In place of the first two, for errors of some classes.
    std::map<ErrorCode, FailurePolicy> policies{};

    /// Events that are tried in a second, by all members together; 0: no limit.
    std::uint32_t rate_limit = 0;

    /// The consumer reads the owner's log itself, without the broker.
    bool reads_log = false;

    /// What the operator does with the subscription besides.
    bool pauses = false;
    bool replays = false;

    /// What is done about an error of the class that its name says.
    [[nodiscard]] FailurePolicy policy_of(std::string_view error) const;
};

/// Replicas of several tables that take in the owner's transactions whole.
struct GroupOptions {
    /// How many; 0: there is no group.
    std::uint32_t tables = 0;

    /// Transactions of more events are applied in parts.
    std::uint32_t events_held_max = 50'000;

    /// Of the lines that are written: the group's table refuses them now and then.
    double refused = 0;

    /// It begins to follow that much behind the writers.
    std::chrono::milliseconds joins_after{0};
};

struct Options {
    std::uint32_t writers = 1;
    std::uint32_t relays = 1;
    std::uint32_t replicas = 1;
    std::uint32_t members = 1;
    bool counts_effects = true;

    std::uint32_t keys = 4;
    bool text_keys = false;
    std::uint32_t partitions = 1;
    std::uint32_t transactions = 20;
    std::uint32_t statements_max = 3;
    double rollback = 0.1;

    /// Rows that one replica's table refuses until they are corrected.
    double poison = 0;

    std::uint32_t relay_batch_max = 100;
    std::uint32_t consumer_batch_max = 100;
    std::uint32_t lanes = 4;
    std::uint32_t chunk_rows_max = 100;
    std::uint32_t digest_rows = 4;
    std::uint32_t digests_max = 2;
    std::chrono::milliseconds lease{2000};
    std::chrono::milliseconds member_timeout{2000};
    std::chrono::milliseconds parked_delay{50};
    std::chrono::milliseconds clock_drift{0};

    BrokerKind broker = BrokerKind::kEmbedded;

    /// The embedded broker itself over a simulated database; otherwise a simulated broker.
    bool real_broker = false;
    bool fences_publishers = true;
    bool remembers_last_version = true;
    std::chrono::milliseconds visibility_delay{0};

    std::chrono::seconds faulty_for{20};

    /// The longest step of one call.
    std::chrono::microseconds step_max{4000};

    /// Backfills, verifications, repairs, trims and broker restarts, one every so often.
    std::chrono::milliseconds operations_every{2000};
    Faults faults;
    Handling handling;
    GroupOptions group;
};

/// `broker` takes the place of the kind that would be drawn; everything else is the same.
Options draw_options(Random& random, std::optional<BrokerKind> broker);

/// On one line, defaults included.
std::string to_string(const Options& options);

}  // namespace instep::simulation
