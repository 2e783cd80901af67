// Care after a process that ended in the middle of its work: an event may have ended it.
//
//   what the former holder of a partition left     how the next one goes on
//   its lease given up                             as ever
//   its lease not given up                         notes each batch before it tries it, for a while
//   the same, with a batch noted                   tries so many events alone, each noted before
//   the same, with an event noted                  goes on alone; the event's starts are counted
//
// Notes are committed before the handler runs, so they outlive whatever it does to the process.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/event/event.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace instep {

/// Events of a partition that are about to be tried, by partition.
using TrialCounts = std::map<std::uint32_t, std::uint64_t>;

/// For one thread at a time. Borrows the connection.
class Caution {
public:
    /// `batch_events_max`: how far behind its progress a predecessor may have been at work.
    Caution(std::string subscription, std::uint64_t batch_events_max, Connection& connection)
        : subscription_(std::move(subscription)),
          batch_events_max_(batch_events_max),
          connection_(connection) {}

    /// The partition is held now, by a lease that was given up or was not.
    Result<void> take_over(std::uint32_t partition, bool was_abandoned);
    void drop(std::uint32_t partition) { alone_.erase(partition); }

    /// Batches are noted before they are tried.
    [[nodiscard]] bool notes_batches() const { return batch_events_left_ > 0 && alone_.empty(); }

    /// Events are tried one by one.
    [[nodiscard]] bool is_alone() const { return !alone_.empty(); }

    Result<void> begin_batch(const TrialCounts& events);

    /// All of it took effect or was set aside, and what was due of parked keys was tried.
    Result<void> end_batch(const TrialCounts& events);

    /// The event is tried next, by itself. Returns how often it was before, with the process's end
    /// each time.
    Result<std::uint32_t> begin_event(std::uint32_t partition, const Event& event);

    /// It took effect or was set aside, in this transaction.
    Result<void> end_event(Transaction& transaction);

    /// The transaction committed.
    void kept() { begun_.reset(); }

    /// It was not dealt with, and the process goes on.
    Result<void> withdraw_event();

    /// An event of the partition is behind that was to be tried alone.
    void passed(std::uint32_t partition);

    /// Everything that was due of parked keys was tried by itself.
    void passed_parked() { parked_left_ = false; }

    /// Ends the care once all is tried that was to be tried.
    Result<void> settle();

private:
    Result<void> forget(std::uint32_t partition);

    const std::string subscription_;
    const std::uint64_t batch_events_max_;
    Connection& connection_;

    /// Events until the predecessor's work is behind.
    std::uint64_t batch_events_left_ = 0;

    /// The same for partitions where events are tried alone.
    TrialCounts alone_;
    bool parked_left_ = false;

    struct Begun {
        std::uint32_t partition;
        std::string event;
        std::uint32_t ends;
    };
    std::optional<Begun> begun_;
};

}  // namespace instep
