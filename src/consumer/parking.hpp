// The parked keys of one subscription: in the database, with a set in memory that answers
// the question asked for every event.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/db/connection.hpp"
#include "instep/retry/backoff.hpp"

#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// An event as it was set aside.
struct ParkedEvent {
    std::int64_t number = 0;
    Event event;
    std::optional<Error> malformed;
};

/// For one thread at a time. Changes become visible to holds() only with kept(), so that a
/// rolled-back transaction leaves no trace; call forgotten() after one.
class Parking {
public:
    Parking(std::string subscription, BackoffPolicy backoff, Random& random);

    /// Reads the set anew, after another member may have parked keys.
    Result<void> load(Connection& connection);

    [[nodiscard]] bool empty() const noexcept { return keys_.empty(); }
    [[nodiscard]] bool holds(std::string_view key) const;

    /// Sets the event aside behind what is parked for its key.
    Result<void> park(Transaction& transaction, const Delivery& delivery, Timestamp now);

    /// Begins or renews the delay of a key. `error` is why its oldest event failed.
    Result<void> fail_key(Transaction& transaction, std::string_view key, const Error& error,
                          Timestamp now);

    /// Keys that may be tried again, oldest due first.
    Result<std::vector<std::string>> due(Connection& connection, Timestamp now,
                                         std::span<const std::uint32_t> partitions);

    /// The oldest events of the key, in order.
    Result<std::vector<ParkedEvent>> events(Transaction& transaction, std::string_view key);

    /// The events up to `number` took effect; frees the key if nothing is left behind them.
    Result<void> release(Transaction& transaction, std::string_view key, std::int64_t number);

    /// The transaction committed.
    void kept();

    /// The transaction was rolled back.
    void forgotten();

    /// When the next key is due, as far as due() has seen.
    [[nodiscard]] std::optional<Timestamp> next_due() const noexcept { return next_due_; }

private:
    const std::string subscription_;
    const BackoffPolicy backoff_;
    Random& random_;
    std::set<std::string, std::less<>> keys_;
    std::set<std::string, std::less<>> added_;
    std::set<std::string, std::less<>> removed_;
    std::optional<Timestamp> next_due_;
};

}  // namespace instep
