// What the parts of one consumer share: its database, its handler, its partitions and its parked
// keys, and the steps that each of them takes.
#pragma once

#include "caution.hpp"
#include "deliveries.hpp"
#include "held_partitions.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/db/connection.hpp"
#include "instruments.hpp"
#include "parking.hpp"
#include "replays.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace instep {

/// For one thread at a time. Borrows the broker, the handler, the random source and the logger.
struct Workplace {
    Workplace(ConsumerOptions options, std::unique_ptr<Connection> connection, Broker& broker,
              Handler& handler, Random& random, Logger& logger);

    /// A transaction that commits only while all partitions are held.
    Result<Transaction> begin();

    /// Reads what is parked anew.
    Result<void> load_parking();

    Result<ApplyCounts> handle(Transaction& transaction, std::span<const Event* const> events);

    /// Commits together with the progress and what changed about parked keys.
    Result<void> commit(Transaction& transaction, const ApplyCounts& counts,
                        const Positions& reached, Timestamp now);

    /// Why the event failed that was blamed with `error` just now, with what its handler says.
    KeyFailure failure_of(Error error);

    /// The key's oldest event has failed once more.
    void fail_key(std::string_view key, const KeyFailure& failure, Timestamp now);

    /// What the handler said of its target since this was asked last: nothing, if it was not
    /// called.
    enum class Target : std::uint8_t { kUnasked, kAnswers, kDown };
    Target take_target() { return std::exchange(target, Target::kUnasked); }

    /// The events behind one for which the target is down are not tried.
    [[nodiscard]] bool stops_where_target_is_down(ErrorCode code) const {
        return options.circuit && code == ErrorCode::kUnavailable;
    }

    /// An event that is tried alone: why its key is to be given up, because the event has ended
    /// the process too often; nothing if it may be tried.
    Result<std::optional<KeyFailure>> begin_alone(std::uint32_t partition, const Event& event);

    const ConsumerOptions options;
    const std::unique_ptr<Connection> connection;
    Handler& handler;
    Logger& logger;
    ConsumerInstruments instruments;
    const FailurePolicies policies;
    Parking parking;
    HeldPartitions held;
    Caution caution;
    Target target = Target::kUnasked;

    /// The last commits are seen by others, but may not survive a failure of the server yet.
    bool is_seen_early = false;

    /// What the handler said when it was last called.
    std::optional<Refusal> refusal;
    Replays replays;
};

}  // namespace instep
