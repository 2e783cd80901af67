// Reads a subscription and applies its events to the consumer's database.
//
// Effect, deduplication record and progress commit in one transaction; only then is the
// position acknowledged. Events of one key take effect in order, also under retries: a key
// whose event fails is parked in the database with everything behind it, and tried again with
// a growing delay, while all other keys go on. When the target itself is down nothing is
// parked: the subscription pauses. Nothing is skipped unless the options say so, and then it is
// kept.
#pragma once

#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/broker/broker.hpp"
#include "instep/consumer/consumer_options.hpp"
#include "instep/consumer/halt.hpp"
#include "instep/consumer/handler.hpp"
#include "instep/db/database.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace instep {

class Logger;

/// A parked key, as an operator sees it.
struct ParkedKey {
    std::string subscription;
    std::string key;
    std::uint32_t attempts = 0;
    std::uint64_t events = 0;
    Timestamp parked{};

    /// The last attempt failed then.
    Timestamp failed{};

    /// Means nothing once it is dead.
    Timestamp next_try{};

    /// Since when it is a dead letter; nothing while it is tried again.
    std::optional<Timestamp> dead;

    /// This is an event that was set aside by itself (OnFailure::kSkip), and since when; its key
    /// goes on.
    std::optional<Timestamp> skipped;
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
    /// later. kFenced: another member took over a partition. A halt is no error.
    Result<std::uint64_t> run_once();

    /// Returns when there may be events, after `patience`, when a parked key is due, or on stop.
    void wait(std::stop_token stop, std::chrono::milliseconds patience);

    /// Why the last run_once() took no events; nothing if it took what there was.
    [[nodiscard]] const std::optional<Halt>& halt() const;

private:
    class Impl;
    explicit Consumer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// Parked keys of one subscription, or of all when it is empty, longest parked first, then skipped
/// events; at most `count` of each. Errors: those of Connection.
Result<std::vector<ParkedKey>> list_parked_keys(Connection& connection,
                                                std::string_view subscription, std::uint32_t count);

/// The newest version that the subscription has dealt with: what its own database remembers of
/// the log that it reads, for brokers that cannot tell. Nothing before the first event. Errors:
/// kCorrupt; those of Connection.
Result<std::optional<LastPublished>> last_taken(Connection& connection,
                                                std::string_view subscription,
                                                std::uint32_t partition);

/// Progress of all subscriptions of this database. Errors: those of Connection.
Result<std::vector<SubscriptionProgress>> list_progress(Connection& connection);

}  // namespace instep
