// How far the readers of a log have got: what its database says of their cursors.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/event/version.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// The cursor of a service's relay.
inline constexpr std::string_view kRelayReader = "relay";

/// The version of the newest event that was confirmed with the cursor, of partition 0; nothing
/// before the first. Errors: kCorrupt; those of Connection.
Result<std::optional<Version>> last_confirmed(Connection& connection, std::string_view reader);

inline constexpr std::int64_t kLogLagMax = 1'000'000;

/// How far the slowest partition of a cursor stands behind the log.
struct LogLag {
    std::uint64_t events = 0;

    /// When the oldest event behind the cursor was appended; nothing without lag.
    std::optional<Timestamp> oldest;
};

/// Counts at most kLogLagMax events, those of one topic unless it is empty. Errors: those of
/// Connection.
Result<LogLag> log_lag(Connection& connection, std::string_view reader,
                       std::string_view topic = {});

/// Another number would divide the keys otherwise, and leave cursors behind that nobody moves and
/// that keep the whole log. Errors: kConflict if the cursor's first partition was made for another
/// number of `partitions`; those of Connection.
Result<void> refuse_other_partitions(Connection& connection, std::string_view reader,
                                     std::uint32_t partitions);

/// The cursors whose name begins with `prefix`, each once, by name. Errors: those of Connection.
Result<std::vector<std::string>> list_readers(Connection& connection, std::string_view prefix);

/// Takes away all cursors of these names; what they alone kept may be trimmed. Errors: those of
/// Connection.
Result<void> remove_readers(Transaction& transaction, std::string_view prefix);

}  // namespace instep
