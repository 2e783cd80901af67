// What a broker promises, and what on its server stands against that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace instep {

/// Whether subscriptions can be taken back to past events.
enum class Rewinds : std::uint8_t {
    kNever,

    /// For as long as the partition's holder stays: the next one begins behind what was
    /// acknowledged and has to take it back once more.
    kWhileHeld,
    kForGood
};

/// What a backend can promise. Conformance suites and `instep check` read it.
struct BrokerFeatures {
    /// Refuses a publisher that a newer one has replaced.
    bool fences_publishers = false;

    /// Can tell the last version published to a partition.
    bool remembers_last_version = false;

    /// Positions are numbers that stay valid for ever and may be read again.
    bool stable_positions = false;

    /// Keeps acknowledged events for a time, so that a subscription can start in the past.
    bool replays = false;

    /// What Subscriber::rewind() does.
    Rewinds rewinds = Rewinds::kNever;

    /// Keeps what was not acknowledged and delivers it again. Without it an event that arrives
    /// while nobody listens is lost: at most once.
    bool redelivers = true;

    /// More comes while what was delivered is not acknowledged yet.
    bool delivers_ahead = true;

    /// Topics keep the newest event of each key for ever, so a new subscription can fill itself.
    bool compacts = false;

    /// Largest event in bytes, attributes included.
    std::size_t event_bytes_max = 0;
};

/// Something about the broker that whoever runs it should know.
struct BrokerFinding {
    /// How much it matters.
    enum class Severity : std::uint8_t { kNote, kWarning, kProblem };

    Severity severity = Severity::kNote;

    /// What it is about, such as "appendonly" or "queue data-owner.lookup_users.0".
    std::string subject;
    std::string message;

    /// What to do; may be empty for a note.
    std::string fix;
};

}  // namespace instep
