// Reading again what a log still keeps. Where sequence order is commit order, on SQLite, events
// have the same versions then. On PostgreSQL an event's version was that of a snapshot, which
// nobody keeps: what is read again has other versions, older than all that is read for the first
// time, and comes in sequence order, which is commit order for each key.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace instep {

/// What a log has of one topic.
struct LogKept {
    /// The numbers of the oldest and the newest event. Without any, the last that the log gave.
    std::uint64_t oldest_seq = 0;
    std::uint64_t newest_seq = 0;

    /// When the oldest was appended; nothing if there is none.
    std::optional<Timestamp> oldest;

    /// Events have been deleted, of whatever topic.
    bool is_trimmed = false;
};

/// Errors: those of Connection.
Result<LogKept> log_kept(Connection& connection, std::string_view topic);

/// Takes a cursor back, so that the event behind `seq` is the next that is read; what it needs is
/// kept from the end of the transaction on, and meanwhile nothing is trimmed. Its reader has to be
/// opened anew. Returns the number up to which it had read.
///
/// Errors: kInvalidArgument if the cursor stands before it; kNotFound without the cursor; kConflict
/// while a restored log is read; those of Connection.
Result<std::uint64_t> rewind_reader(Transaction& transaction, std::string_view reader,
                                    std::uint64_t seq);

/// The number behind which a cursor that was taken back reads next, where the version that it
/// confirmed last does not say so: on PostgreSQL, until it stands where it stood. Errors: those of
/// Connection.
Result<std::optional<std::uint64_t>> rewound_to(Connection& connection, std::string_view reader);

}  // namespace instep
