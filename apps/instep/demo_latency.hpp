// How long a change takes from its commit in iam's database to its commit in each replica's.
//
// The writer notes, right after a commit has returned, the monotonic time, and the key and the
// updated_at of the transaction's last change. One thread looks at each replica's database
// every millisecond while it waits for something, and asks for that row whenever another
// connection has committed: the change has arrived once the row is at least as new, or buried,
// since the writer never uses an id twice. The time of that look counts, so a latency reads up to
// about a millisecond too long, never too short. At most one transaction in five milliseconds is
// measured, and none that would wait behind two thousand others.
#pragma once

#include "demo_writer.hpp"
#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/concurrency/loop.hpp"
#include "instep/replica/replica.hpp"
#include "instep/telemetry/metrics.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace instep::cli {

/// In milliseconds.
struct LatencyFigures {
    double p50 = 0;
    double p99 = 0;
    double max = 0;
};

/// Quantiles are right to within five percent, the maximum is exact. Safe to use from any thread.
class LatencyRecord {
public:
    LatencyRecord();
    void add(std::chrono::microseconds latency);

    /// Nothing before the first.
    [[nodiscard]] std::optional<LatencyFigures> figures() const;

private:
    Histogram histogram_;
    std::atomic<std::int64_t> max_us_ = 0;
};

/// A replica to watch and a connection to its database.
struct WatchedReplica {
    ReplicaDefinition definition;
    std::unique_ptr<Connection> connection;
};

/// Owns one thread.
class LatencyProbe {
public:
    /// Starts nothing. All but the replicas must outlive the probe.
    LatencyProbe(std::vector<WatchedReplica> replicas, const Clock& clock, Random& random,
                 Logger& logger);

    void start() { loop_.start(); }
    Result<void> stop();

    /// Measures the change if measuring has begun and there is room. Safe from any thread.
    void note(const CommittedChange& change);

    /// Before this, replicas may still be filling, and note() does nothing.
    void begin_measuring() { measures_ = true; }

    /// Everything noted has arrived everywhere.
    [[nodiscard]] bool is_drained() const;

    [[nodiscard]] const LatencyRecord& all() const { return all_; }
    [[nodiscard]] const LatencyRecord& of(std::size_t replica) const;

private:
    struct Watch {
        explicit Watch(WatchedReplica&& watched) : replica(std::move(watched)) {}

        WatchedReplica replica;
        std::optional<std::uint64_t> token;
        std::deque<CommittedChange> expected;
        LatencyRecord record;
    };

    Result<std::uint64_t> look();
    Result<void> look_at(Watch& watch);
    static Result<bool> has_arrived(const WatchedReplica& replica, const CommittedChange& change);
    void wait(const std::stop_token& stop);

    std::vector<std::unique_ptr<Watch>> watches_;
    const Clock& clock_;
    std::atomic<bool> measures_ = false;
    LatencyRecord all_;

    /// Guards what is expected of all watches.
    mutable std::mutex mutex_;
    std::condition_variable_any noted_;
    std::chrono::microseconds last_noted_{0};
    Loop loop_;
};

}  // namespace instep::cli
