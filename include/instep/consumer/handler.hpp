// What is run for the events of a subscription.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/event/event.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

namespace instep {

class Logger;

/// What became of the events of one apply(). Totals of a subscription are kept in its
/// database, in the same transaction as the effects.
struct ApplyCounts {
    /// Took effect, alone or as part of a newer event of the same key.
    std::uint64_t applied = 0;

    /// Had taken effect before.
    std::uint64_t duplicates_ignored = 0;

    /// Older than what is there.
    std::uint64_t stale_ignored = 0;

    /// Meant for another consumer of the topic.
    std::uint64_t not_addressed = 0;

    /// The handler decided against it, with a reason in the log.
    std::uint64_t discarded = 0;

    ApplyCounts& operator+=(const ApplyCounts& other);
};

/// What a handler says of an event that it refused, besides why.
struct Refusal {
    /// The class of its error, by which the subscription chooses a policy.
    ErrorCode error = ErrorCode::kRejected;

    /// When its key wants to be tried again; nothing if the policy is to decide.
    std::optional<std::chrono::milliseconds> retry_after{};
};

/// Applies events to the consumer's database. Called by one thread at a time.
class Handler {
public:
    virtual ~Handler() = default;

    /// Applies all of the events, or fails and leaves it to the caller to roll back. Events of
    /// one key come in order; an event may come again after it has taken effect, and must then
    /// change nothing.
    ///
    /// Errors decide what happens next: kRejected, kCorrupt, kInvalidArgument, kLimitExceeded
    /// and kUnsupported blame the event, and its key is parked; every other code blames the target,
    /// and the subscription pauses and tries again.
    virtual Result<ApplyCounts> apply(Transaction& transaction,
                                      std::span<const Event* const> events) = 0;

    /// Told before apply(): how many times the first of its events is tried with this, from 1.
    virtual void begin_attempt(std::uint32_t /*attempt*/) {}

    /// apply() records a span for each event itself; otherwise the consumer does for each batch.
    [[nodiscard]] virtual bool records_spans() const { return false; }

    /// `instep replay` may ask for past events; to look for that costs a query now and then.
    [[nodiscard]] virtual bool takes_replays() const { return true; }

    /// Effects may be seen before they survive a failure of the database's server, which takes them
    /// back whole and in reverse order; they come again, since nothing is acknowledged before. Not
    /// for effects that others act on.
    [[nodiscard]] virtual bool may_be_seen_early() const { return false; }

    /// A later event of a key takes the place of those before it, so that what waits behind a
    /// refused one may free the key.
    [[nodiscard]] virtual bool carries_state() const { return false; }

    /// How many events took the handler longer than it should; only rises.
    [[nodiscard]] virtual std::uint64_t slow_events() const { return 0; }

    /// After apply() blamed an event: what else is to be said of it; nothing if its error says all.
    [[nodiscard]] virtual std::optional<Refusal> refusal() const { return std::nullopt; }
};

/// How a handler function ends.
struct Verdict {
    /// What the consumer does next.
    enum class Kind : std::uint8_t { kDone, kRetry, kDiscard, kUnavailable };

    static Verdict done() { return {Kind::kDone}; }

    /// Park the key and come back to it later: by the subscription's back-off, or after a time
    /// of 1 ms to 30 days.
    static Verdict retry(std::string reason) { return {Kind::kRetry, std::move(reason)}; }
    static Verdict retry_after(std::chrono::milliseconds time, std::string reason) {
        return {Kind::kRetry, std::move(reason), time};
    }

    /// The same for an error of a class that the subscription may have a policy of its own for.
    /// Without a class it is kRejected.
    static Verdict retry(Error error) {
        return {Kind::kRetry, std::move(error.message), {}, error.code};
    }

    /// Count it, log the reason, never try again.
    static Verdict discard(std::string reason) { return {Kind::kDiscard, std::move(reason)}; }

    /// What the handler needs is down, for every event and not for this one: park nothing, count no
    /// attempt, and let the subscription wait (ConsumerOptions::circuit).
    static Verdict unavailable(std::string reason) {
        return {Kind::kUnavailable, std::move(reason)};
    }

    Kind kind = Kind::kDone;
    std::string reason{};
    std::optional<std::chrono::milliseconds> after{};

    /// Of kRetry.
    ErrorCode error = ErrorCode::kRejected;
};

/// Code for one event. Its writes to `transaction` commit together with the record that the
/// event was handled. May throw; that counts as retry.
using HandlerFunction = std::function<Verdict(Transaction& transaction, const Event& event)>;

/// Runs a function once for each event, remembered by (source, id) in the subscription's
/// inbox, so that each event takes effect exactly once in the consumer's database; and once more in
/// each replay (replay.hpp).
class InboxHandler final : public Handler {
public:
    /// `logger` must outlive the handler.
    InboxHandler(std::string subscription, HandlerFunction function, Logger& logger);
    Result<ApplyCounts> apply(Transaction& transaction,
                              std::span<const Event* const> events) override;
    [[nodiscard]] std::optional<Refusal> refusal() const override { return refusal_; }

private:
    std::string subscription_;
    HandlerFunction function_;
    Logger& logger_;
    std::optional<Refusal> refusal_;
};

/// Forgets handled events of all subscriptions older than `before`, at most `rows_max`.
/// `before` must be older than anything a broker may still redeliver. Returns how many.
Result<std::uint64_t> trim_inbox(Transaction& transaction, Timestamp before,
                                 std::uint32_t rows_max);

}  // namespace instep
