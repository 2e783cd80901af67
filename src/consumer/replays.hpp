// The replays of one subscription, as its consumer carries them out.
#pragma once

#include "deliveries.hpp"
#include "instep/broker/broker.hpp"
#include "instep/consumer/replay.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace instep {

class Logger;

/// For one thread at a time. Borrows everything that it is given.
class Replays {
public:
    Replays(std::string subscription, std::string topic, Broker& broker, const Logger& logger)
        : subscription_(std::move(subscription)),
          topic_(std::move(topic)),
          broker_(broker),
          logger_(logger) {}

    /// Where the subscription stands in the partitions that are held.
    using Places = std::map<std::uint32_t, Position>;

    /// Fails with kFenced if another member works on the subscription.
    using CheckTurn = std::function<Result<void>(Transaction&)>;

    /// Whether it is time for take_up(). Not at each call, unless look_now() was called before.
    bool is_due() noexcept;

    /// Takes the subscription back where somebody has asked for it, or where it was taken back and
    /// the broker does not know; `places` then says so. For times when everything that was received
    /// is acknowledged.
    Result<void> take_up(Connection& connection, Subscriber& subscriber, const CheckTurn& check,
                         Places& places);

    /// Partitions came, or there is nothing else to do.
    void look_now() noexcept { calls_until_look_ = 0; }

    /// Marks what a replay brings.
    void mark(std::vector<Delivery>& deliveries) const;

    /// Part of the transaction in which the events before the position took effect.
    Result<void> move(Transaction& transaction, const Positions& reached, Timestamp now) const;

private:
    struct Running {
        std::uint64_t number = 0;
        Position reached = 0;
        Position until = 0;
        std::string key;
        ReplayStart start = ReplayStart::beginning();
        std::string broker;
    };

    /// By partition.
    using RunningReplays = std::map<std::uint32_t, Running>;

    struct Asked {
        std::uint64_t number = 0;
        std::uint32_t partition = 0;
        ReplayStart start;
        std::string key;
    };

    /// Where an accepted replay begins and ends.
    struct Span {
        Position from = 0;
        Position until = 0;
    };

    Result<std::vector<Asked>> load(Connection& connection, const Places& places);
    Result<void> begin(Connection& connection, const CheckTurn& check, const Asked& asked,
                       Position stands_at);
    Result<Span> find_span(Connection& connection, const Asked& asked, Position stands_at);
    Result<void> resume(Connection& connection, Subscriber& subscriber, const CheckTurn& check,
                        std::uint32_t partition, Position& stands_at);
    Result<bool> is_stored(std::uint32_t partition, Position position);
    Result<void> finish(Connection& connection, const CheckTurn& check,
                        RunningReplays::iterator replay,
                        const std::optional<Error>& problem = std::nullopt);
    Result<void> set_state(Connection& connection, const CheckTurn& check, std::uint64_t replay,
                           const std::optional<Error>& problem);

    const std::string subscription_;
    const std::string topic_;
    Broker& broker_;
    const Logger& logger_;
    int calls_until_look_ = 0;
    RunningReplays running_;
};

}  // namespace instep
