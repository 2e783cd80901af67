// The parked keys of one subscription: in the database, with a set in memory that answers
// the question asked for every event.
#pragma once

#include "failure_policies.hpp"
#include "instep/broker/broker.hpp"
#include "instep/db/connection.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
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

    /// Somebody decided against it: it is passed over.
    bool is_discarded = false;
};

/// A parked key that may be tried again.
struct DueKey {
    std::string key;
    std::uint32_t partition = 0;

    /// How often it was tried.
    std::uint32_t attempts = 0;
};

/// What became of a key whose oldest event failed.
enum class FailedKey : std::uint8_t {
    kRetried,  ///< It is tried again later.
    kDead,     ///< It waits for a person.
    kSkipped,  ///< The event was set aside by itself; what is behind it is tried.
};

/// The key that the delivery is parked under: what cannot be read may have none of its own.
std::string_view parked_key_of(const Delivery& delivery);

/// Why the oldest event of a key failed.
struct KeyFailure {
    Error error;

    /// The delay that its handler asks for.
    std::optional<std::chrono::milliseconds> retry_after{};

    /// No further attempt, however many are left.
    bool is_final = false;
};

/// For one thread at a time. Changes become visible to holds() only with kept(), so that a
/// rolled-back transaction leaves no trace; call forgotten() after one.
class Parking {
public:
    /// `policies` must outlive it.
    Parking(std::string subscription, const FailurePolicies& policies, Random& random);

    /// Reads the set anew, after another member may have parked keys.
    Result<void> load(Connection& connection);

    [[nodiscard]] bool empty() const noexcept { return keys_.empty(); }
    [[nodiscard]] bool holds(std::string_view key) const;

    /// Keys that are parked and events that were skipped.
    [[nodiscard]] std::uint64_t key_count() const noexcept {
        return keys_.size() + static_cast<std::uint64_t>(std::max<std::int64_t>(skipped_.kept, 0));
    }

    /// Of all their envelopes.
    [[nodiscard]] std::uint64_t bytes() const noexcept {
        return static_cast<std::uint64_t>(std::max<std::int64_t>(bytes_.kept, 0));
    }

    /// Sets the event aside behind what is parked for its key, which must be there, or be failed
    /// next.
    Result<void> park(Transaction& transaction, const Delivery& delivery, Timestamp now);

    /// Begins or renews the delay of a key, or gives its oldest event up.
    Result<FailedKey> fail_key(Transaction& transaction, std::string_view key,
                               const KeyFailure& failure, Timestamp now);

    /// Keys that may be tried again, oldest due first.
    Result<std::vector<DueKey>> due(Connection& connection, Timestamp now,
                                    std::span<const std::uint32_t> partitions);

    /// The oldest events of the key, in order; at most `count`.
    Result<std::vector<ParkedEvent>> events(Transaction& transaction, std::string_view key,
                                            std::int64_t count);

    /// The events up to `number` took effect; frees the key if nothing is left behind them, or
    /// begins to count its attempts anew.
    Result<void> release(Transaction& transaction, std::string_view key, std::int64_t number);

    /// The transaction committed.
    void kept();

    /// The transaction was rolled back.
    void forgotten();

    /// When the next key is due, as far as due() has seen.
    [[nodiscard]] std::optional<Timestamp> next_due() const noexcept { return next_due_; }

private:
    /// Sets the key's oldest event aside by itself.
    Result<void> skip_oldest(Transaction& transaction, std::string_view key, std::uint32_t attempts,
                             const Error& error, Timestamp now);

    /// Frees the key if nothing waits behind what is gone, or counts its attempts anew.
    Result<void> go_on(Transaction& transaction, std::string_view key);

    void add(std::string_view key);
    void remove(std::string_view key);

    /// A number that a transaction changes only once it is kept.
    struct Total {
        std::int64_t kept = 0;
        std::int64_t change = 0;
    };

    const std::string subscription_;
    const FailurePolicies& policies_;
    Random& random_;
    std::set<std::string, std::less<>> keys_;
    std::set<std::string, std::less<>> added_;
    std::set<std::string, std::less<>> removed_;
    Total skipped_;
    Total bytes_;
    std::optional<Timestamp> next_due_;
};

}  // namespace instep
