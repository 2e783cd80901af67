// What people do with parked keys and dead letters.
//
// All of it works on the consumer's database alone, with or without the consumer running, and
// races with nothing: the consumer reads the rows anew at every attempt. What stands behind a key
// keeps its order whatever is decided.
#pragma once

#include "instep/base/error.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// Which keys are meant; every condition narrows. Empty texts match all.
struct DeadLetterFilter {
    std::string subscription{};
    std::string key{};

    /// Part of the error's message.
    std::string error{};

    /// Also keys that are still tried again.
    bool with_retried = false;
};

/// An event that waits, as it was parked.
struct WaitingEvent {
    std::int64_t number = 0;
    std::uint32_t partition = 0;
    Position position = 0;
    Timestamp parked{};

    /// CloudEvents JSON; empty for a message that is no event.
    std::string envelope;

    /// The bytes of a message that is no event.
    std::string raw;

    /// Somebody decided against it; it goes at the next attempt.
    bool is_discarded = false;

    /// Set aside by itself: the events behind it do not wait for it.
    bool is_skipped = false;
};

/// What somebody did.
struct DeadLetterAction {
    Timestamp acted{};
    std::string who;

    /// "retry", "edit" or "discard".
    std::string action;
    std::string reason;
    std::string subscription;
    std::string key;

    /// The event before it was edited or discarded; empty for "retry".
    std::string envelope;
};

/// Who acts, and why; both are kept.
struct Operator {
    std::string who;
    std::string reason;
};

/// Dead keys, longest dead first, then skipped events, longest skipped first; at most `count` of
/// each. Errors: those of Connection.
Result<std::vector<ParkedKey>> list_dead_letters(Connection& connection,
                                                 const DeadLetterFilter& filter,
                                                 std::uint32_t count);

/// The events of a key, in order, from the one that fails; at most `count`.
Result<std::vector<WaitingEvent>> list_waiting_events(Connection& connection,
                                                      std::string_view subscription,
                                                      std::string_view key, std::uint32_t count);

/// Lets the keys and skipped events be tried again from now on, with all their attempts. A skipped
/// event is tried before what waits of its key now. Returns how many.
Result<std::uint64_t> retry_dead_letters(Transaction& transaction, const DeadLetterFilter& filter,
                                         const Operator& by);

/// How much of a key is given up.
enum class DiscardScope : std::uint8_t {
    kOldestEvent,  ///< The one that fails; what is behind it is tried.
    kAllEvents,    ///< Everything that waits now; what comes later is tried.
};

/// Gives events of the keys up, and skipped events. They are kept in the record of actions. Returns
/// how many events.
Result<std::uint64_t> discard_dead_letters(Transaction& transaction, const DeadLetterFilter& filter,
                                           DiscardScope scope, const Operator& by);

/// Replaces the payload of a waiting event, and lets its key be tried again. Errors: kNotFound;
/// kInvalidArgument if the event's content type is JSON and `data` is not, or for a message that
/// is no event; kLimitExceeded.
Result<void> edit_dead_letter(Transaction& transaction, std::int64_t number, std::string_view data,
                              const Operator& by);

/// The record, newest first; at most `count`.
Result<std::vector<DeadLetterAction>> list_dead_letter_actions(Connection& connection,
                                                               std::uint32_t count);

}  // namespace instep
