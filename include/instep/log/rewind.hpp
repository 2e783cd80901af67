// Reading again what a log still keeps. Where sequence order is commit order, on SQLite, events
// have the same versions then. On PostgreSQL an event's version is of the snapshot that it was
// read by, which nobody keeps: there is no way back.
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

/// Errors: kUnsupported on PostgreSQL; those of Connection.
Result<LogKept> log_kept(Connection& connection, std::string_view topic);

/// Takes a cursor back, so that the event behind `seq` is the next that is read; what it needs is
/// kept. Its reader has to be opened anew.
///
/// Errors: kInvalidArgument if the cursor stands before it; kNotFound without the cursor;
/// kUnsupported on PostgreSQL; those of Connection.
Result<void> rewind_reader(Transaction& transaction, std::string_view reader, std::uint64_t seq);

}  // namespace instep
