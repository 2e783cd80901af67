// Reads a subscription and applies its events to the consumer's database.
//
// Effect, deduplication record and progress commit in one transaction; only then is the
// position acknowledged. Events of one key take effect in order, also under retries: a key
// whose event fails is parked in the database with everything behind it, and tried again with
// a growing delay, while all other keys go on. When the target itself is down nothing is
// parked: the subscription pauses. Nothing is skipped.
#pragma once

#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/broker/broker.hpp"
#include "instep/consumer/handler.hpp"
#include "instep/db/database.hpp"
#include "instep/retry/backoff.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace instep {

class Logger;

struct ConsumerOptions {
    /// Unique among the broker's subscriptions, such as "data-owner.lookup_users".
    std::string subscription;

    /// What to read, such as "iam.user".
    std::string topic;

    /// Unique among all processes that may work on the subscription.
    std::string member;

    /// For a subscription that does not exist yet.
    StartAt start_at = StartAt::kEarliest;

    /// Events applied in one transaction, 1 to 100,000. Larger: fewer commits, more memory,
    /// longer waits for other writers of the database.
    std::uint32_t batch_events_max = 2000;

    /// A batch ends before the event with which its data would pass this many bytes.
    std::size_t batch_bytes_max = 4U * 1024 * 1024;

    /// Queues that a batch is divided into by key hash, 1 to 1024. A failure is searched for
    /// in its own lane only.
    std::uint32_t lanes = 16;

    /// Delay before a parked key is tried again.
    BackoffPolicy parked_backoff{};

    /// How long a silent member keeps its partitions, 1 to 300 s.
    std::chrono::milliseconds member_timeout{10'000};
};

/// A parked key, as an operator sees it.
struct ParkedKey {
    std::string subscription;
    std::string key;
    std::uint32_t attempts = 0;
    std::uint64_t events = 0;
    Timestamp parked{};
    Timestamp next_try{};
    std::string error_code;
    std::string error_message;
};

/// Progress and totals of one subscription in one partition.
struct SubscriptionProgress {
    std::string subscription;
    std::uint32_t partition = 0;
    Position position = 0;
    ApplyCounts counts;
    Timestamp moved{};
};

/// For one thread at a time, except wake(). Owns one connection and one subscriber.
class Consumer {
public:
    /// Makes the subscription at the broker; starts nothing. `database`, `broker`, `handler`,
    /// `random` and `logger` must outlive the consumer.
    ///
    /// Errors: kInvalidArgument for an option out of bounds; those of Database::connect() and
    /// Broker::subscribe().
    static Result<std::unique_ptr<Consumer>> create(Database& database, Broker& broker,
                                                    Handler& handler, Random& random,
                                                    Logger& logger, ConsumerOptions options);
    Consumer(const Consumer&) = delete;
    Consumer& operator=(const Consumer&) = delete;
    ~Consumer();

    /// Tries parked keys that are due, then applies and acknowledges one batch. Returns how
    /// many events were dealt with (applied, ignored or parked); 0 if there was nothing to do.
    ///
    /// Errors: what stopped the flow, with nothing acknowledged that is not done; call again
    /// later. kFenced: another member took over a partition.
    Result<std::uint64_t> run_once();

    /// Returns when there may be events, after `patience`, when a parked key is due, or on stop.
    void wait(std::stop_token stop, std::chrono::milliseconds patience);

private:
    class Impl;
    explicit Consumer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// Parked keys of one subscription, or of all when it is empty, longest parked first; at most
/// `count`. Errors: those of Connection.
Result<std::vector<ParkedKey>> list_parked_keys(Connection& connection,
                                                std::string_view subscription, std::uint32_t count);

/// Progress of all subscriptions of this database. Errors: those of Connection.
Result<std::vector<SubscriptionProgress>> list_progress(Connection& connection);

}  // namespace instep
