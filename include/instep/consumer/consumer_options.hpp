// How a consumer reads its subscription, what becomes of failures, and what holds it back.
#pragma once

#include "instep/base/error.hpp"
#include "instep/broker/broker.hpp"
#include "instep/db/connection.hpp"
#include "instep/retry/backoff.hpp"
#include "instep/retry/circuit_breaker.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace instep {

struct Telemetry;

/// What takes effect together.
enum class ApplyUnit : std::uint8_t {
    kKey,  ///< Any run of events. One that fails is set aside with its key; others go on.

    /// Whole transactions of the owner, on a topic that tells where they end
    /// (log/boundary.hpp); the handler sees no boundary. One that is refused stops the
    /// subscription until it is taken: nothing behind it can be right. Only chunks and digests are
    /// set aside. The topic has one partition.
    kTransaction,
};

/// What becomes of an event that has failed as often as it may.
enum class OnFailure : std::uint8_t {
    kBlockKey,  ///< Its key is a dead letter, with everything behind it; other keys go on.

    /// It is set aside by itself, and kept for a person; its key goes on with the next event, so
    /// that order is given up.
    kSkip,

    /// The subscription stops at it until it is retried, edited or discarded. Already while it is
    /// tried again, nothing behind it is, of whatever key.
    kStopFlow,
};

/// "block_key", "skip" or "stop_flow".
std::string_view to_string(OnFailure policy) noexcept;

/// What is done about an event that failed.
struct FailurePolicy {
    /// Delay before its key is tried again, unless its handler asks for another.
    BackoffPolicy backoff{};

    /// How often the oldest event of a key is tried before it is given up; 0: without end.
    std::uint32_t attempts_max = 0;
    OnFailure on_failure = OnFailure::kBlockKey;

    friend bool operator==(const FailurePolicy&, const FailurePolicy&) = default;
};

/// Every class of errors that an event can fail with.
std::span<const ErrorCode> failure_classes() noexcept;

/// How a Consumer reads its subscription, and what holds it back.
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

    /// What the topic is applied by.
    ApplyUnit unit = ApplyUnit::kKey;

    /// With kTransaction: transactions of up to so many events are held in memory and handed to the
    /// handler at once. Those of a larger one are handed to it in several calls of
    /// batch_events_max, within one transaction of the database.
    std::uint32_t transaction_events_max = 50'000;

    /// The same for bytes of their data.
    std::size_t transaction_bytes_max = 64U * 1024 * 1024;

    /// Delay before a parked key is tried again, unless its handler asks for another.
    BackoffPolicy parked_backoff{};

    /// How often the oldest event of a parked key is tried before the key is a dead letter, which
    /// waits for a person; 0: without end.
    std::uint32_t attempts_max = 0;

    /// With kSkip and kStopFlow: not with kTransaction.
    OnFailure on_failure = OnFailure::kBlockKey;

    /// In place of these three, for errors of some classes. What counts is the class of the last
    /// failure; attempts are counted over all classes. Not with kTransaction.
    std::map<ErrorCode, FailurePolicy> policies{};

    /// How often the process may end while it tries an event, and nothing else, before the
    /// event's key is a dead letter; 0: without end. A member that takes over from one that ended
    /// in the middle of its work notes what it tries, first a batch, then each event. Not with
    /// kTransaction.
    std::uint32_t crashes_max = 0;

    /// When the handler finds its target down (kUnavailable) so often in a row, no event is tried
    /// for a while, then one at a time until one is answered. Nothing is parked and no attempt is
    /// counted meanwhile. Nothing: every run_once() tries. Not with kTransaction.
    std::optional<CircuitBreakerOptions> circuit{};

    /// Events that are tried in a second, by all members together, with room for those of a second
    /// at once; 0: no limit. Not with kTransaction.
    std::uint32_t rate_limit = 0;

    /// No events are taken while so many keys are parked or events skipped, as far as this member
    /// knows: what stood when it took its partitions over, and what it set aside since. A batch
    /// under way may pass the limit. From 1; larger: more memory, for a set of the keys.
    std::uint64_t parked_keys_max = 100'000;

    /// The same for the bytes of their envelopes; larger: more room in the database.
    std::uint64_t parked_bytes_max = 1024ULL * 1024 * 1024;

    /// How long a silent member keeps its partitions, 1 to 300 s.
    std::chrono::milliseconds member_timeout{10'000};

    /// What must hold in each of its transactions, as LeaseOptions has it.
    std::function<Result<void>(Transaction&)> condition{};

    /// Who is told of what it applies: metrics, and a span for each recorded trace of a batch
    /// unless the handler sees to that. Null: nobody. Must outlive the consumer.
    const Telemetry* telemetry = nullptr;
};

}  // namespace instep
