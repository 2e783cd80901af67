// The parked keys of one subscription: in the database, with a set in memory that answers
// the question asked for every event.
#pragma once

#include "failure_policies.hpp"
#include "instep/broker/broker.hpp"
#include "instep/db/connection.hpp"
#include "parked_changes.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace instep {

/// An event as it was set aside.
struct ParkedEvent {
    std::int64_t number = 0;
    Event event;
    std::optional<Error> malformed;

    /// Somebody decided against it: it is passed over.
    bool is_discarded = false;

    /// Of its envelope.
    std::int64_t bytes = 0;
};

/// A parked key that may be tried again.
struct DueKey {
    std::string key;
    std::uint32_t partition = 0;
};

/// What waits for a parked key.
struct WaitingKey {
    std::string key;

    /// How often the oldest of its events was tried.
    std::uint32_t attempts = 0;

    /// The oldest, in order.
    std::vector<ParkedEvent> events;
};

/// How much is set aside.
struct ParkedTotals {
    std::uint64_t keys = 0;
    std::uint64_t skipped_events = 0;

    /// Of all envelopes.
    std::uint64_t bytes = 0;
};

/// What became of a key whose oldest event failed.
enum class FailedKey : std::uint8_t {
    kRetried,  ///< It is tried again later.
    kDead,     ///< It waits for a person.
    kSkipped,  ///< The event was set aside by itself; what is behind it is tried.
};

/// Why the oldest event of a key failed.
struct KeyFailure {
    Error error;

    /// The delay that its handler asks for.
    std::optional<std::chrono::milliseconds> retry_after{};

    /// No further attempt, however many are left.
    bool is_final = false;

    /// How often it was tried before.
    std::uint32_t attempts = 0;
};

/// For one thread at a time. A transaction's changes are in the database only with write(), and
/// visible to holds() after its commit only with kept(), so that a rolled-back one leaves no trace;
/// call forgotten() after one.
class Parking {
public:
    /// `policies` must outlive it.
    Parking(std::string subscription, const FailurePolicies& policies, Random& random);

    /// Reads the set anew, after another member may have parked keys. After an error it is as it
    /// was.
    Result<void> load(Connection& connection);

    /// What the database has now, of all members.
    Result<ParkedTotals> count(Connection& connection);

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
    void park(const Delivery& delivery, Timestamp now);

    /// Begins or renews the delay of a key, or gives its oldest event up.
    FailedKey fail_key(std::string_view key, const KeyFailure& failure, Timestamp now);

    /// The events, which are the oldest of the key, took effect; frees the key if nothing is left
    /// behind them, or begins to count its attempts anew.
    void release(std::string_view key, std::span<const ParkedEvent> events);

    /// Writes all of that, before the commit or when it is large.
    Result<void> write(Transaction& transaction);
    [[nodiscard]] bool is_large() const { return changes_.is_large(); }

    /// Events skipped in this transaction.
    [[nodiscard]] std::uint64_t skipped() const {
        return static_cast<std::uint64_t>(skipped_.change);
    }

    /// Keys that may be tried again, oldest due first.
    Result<std::vector<DueKey>> due(Connection& connection, Timestamp now,
                                    std::span<const std::uint32_t> partitions);

    /// What waits for the keys, in their order; of each key at most `events_max`. A key that is no
    /// longer parked is left out.
    Result<std::vector<WaitingKey>> waiting(Transaction& transaction, std::span<const DueKey> keys,
                                            std::int64_t events_max);

    /// The transaction committed.
    void kept();

    /// The transaction was rolled back.
    void forgotten();

    /// When the next key is due, as far as due() has seen.
    [[nodiscard]] std::optional<Timestamp> next_due() const noexcept { return next_due_; }

private:
    struct TextHash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const noexcept {
            return std::hash<std::string_view>{}(text);
        }
    };
    using Keys = std::unordered_set<std::string, TextHash, std::equal_to<>>;

    void add(std::string_view key);
    void remove(std::string_view key);

    /// When the next key will be due that is not yet, of whatever member.
    Result<std::optional<Timestamp>> find_next_due(Connection& connection, Timestamp now);

    /// A number that a transaction changes only once it is kept.
    struct Total {
        std::int64_t kept = 0;
        std::int64_t change = 0;
    };

    const std::string subscription_;
    const FailurePolicies& policies_;
    Random& random_;
    ParkedChanges changes_;
    Keys keys_;
    Keys added_;
    Keys removed_;
    Total skipped_;
    Total bytes_;
    std::optional<Timestamp> next_due_;
};

}  // namespace instep
