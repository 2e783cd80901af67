// Moves events from a service's log to a broker.
//
// At least once, in commit order within a key: the cursor moves behind an event only after
// the broker confirmed it and everything before it, so a crash between the two publishes it
// again, with the same id and version, and consumers drop the repeat. One relay a partition
// works at a time; a lease sees to that, and its epoch fences a relay that was paused.
#pragma once

#include "instep/base/error.hpp"
#include "instep/broker/broker.hpp"
#include "instep/db/database.hpp"
#include "instep/log/reader.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

namespace instep {

class Logger;
struct Telemetry;

struct RelayOptions {
    /// The service whose log is relayed; the `source` of its events.
    std::string service;

    /// Unique among all processes that may relay this service.
    std::string owner;

    /// The share of the keys that this relay moves.
    Partition partition;

    /// The service's topics: compared with the log as soon as the lease is taken, and told of
    /// a new epoch. Other topics are compared when their first event comes.
    std::vector<std::string> topics{};

    /// Those of its topics whose events go, besides, to transactions_topic(service), together and
    /// in commit order, with boundaries. Needs a partition count of 1.
    std::vector<std::string> transactions{};

    /// Events published in one round, 1 to 100,000. Larger: fewer commits, more memory.
    std::uint32_t batch_events_max = 4000;

    /// How long a silent relay keeps its partition, 1 to 300 s.
    std::chrono::milliseconds lease_duration{10'000};

    /// How the log is read.
    LogReader::Open open_reader = &LogReader::open;

    /// Relay::wait() sleeps until something is appended. Not for a reader of anything else than
    /// the log, nor for one that is in no hurry: one reader of a database sleeps at a time.
    bool is_told_of_appends = true;

    /// What must hold for the relay to lead, as LeaseOptions has it.
    std::function<Result<void>(Transaction&)> condition{};

    /// Who is told of what it publishes: metrics, and a span for each recorded trace of a batch.
    /// Null: nobody. Must outlive the relay.
    const Telemetry* telemetry = nullptr;
};

/// Totals since create(); they never decrease.
struct RelayStats {
    std::uint64_t events_published = 0;
    std::uint64_t chunks_published = 0;
    std::uint64_t publish_failures = 0;
    std::uint64_t epochs_begun = 0;
};

/// For one thread at a time. Owns one connection and one publisher.
class Relay {
public:
    /// Checks the options and the schema; starts nothing. `database`, `broker`, `chunks` (may be
    /// null) and `logger` must outlive the relay.
    ///
    /// Errors: kInvalidArgument for an option out of bounds; kSchemaMismatch if our tables
    /// are missing; those of Database::connect() and Broker::publisher().
    static Result<std::unique_ptr<Relay>> create(Database& database, Broker& broker,
                                                 ChunkSource* chunks, Logger& logger,
                                                 RelayOptions options);
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    /// Gives the lease up if it is held.
    ~Relay();

    /// Publishes one batch. The cursor moves behind it with the next call, or when the relay ends.
    /// Returns how many events are durable at the broker; 0 if there was nothing to do or another
    /// relay holds the partition.
    ///
    /// When it takes the lease it compares the log with what the broker last got: a log that
    /// stands behind was restored from a copy, and gets a new epoch. An event without
    /// operation, `log.epoch_begun`, carries it to every one of `topics`.
    ///
    /// Errors: those of Connection; what the publisher said about the first event that is not
    /// durable; kFenced when another relay took over in the middle (call again to stand by).
    Result<std::uint64_t> run_once();

    /// A number that changes when the log may have news. Cheap.
    Result<std::uint64_t> change_token();

    /// After a step that found nothing: lets the time pass until the log may have news, at most
    /// `patience` or, where appends are sure to tell, 100 ms. Returns true if the next step need
    /// not ask change_token() first.
    bool wait(const std::stop_token& stop, std::chrono::milliseconds patience);

    [[nodiscard]] RelayStats stats() const noexcept;

    /// True if there may be more to publish before change_token() changes.
    [[nodiscard]] bool holds_back() const noexcept;

    /// True while this relay holds its partition.
    [[nodiscard]] bool leads() const noexcept;

private:
    class Impl;
    explicit Relay(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace instep
