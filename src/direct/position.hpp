// Versions of a log as positions, which are numbers.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/db/connection.hpp"
#include "instep/db/dialect.hpp"
#include "instep/event/version.hpp"

#include <string_view>

namespace instep::direct {

/// On PostgreSQL versions are of the reading: what is read again has others.
inline bool counts_snapshots(const Dialect& dialect) { return dialect.name() == "postgres"; }

/// Rises with the versions of one epoch, and stays below 2^63. On SQLite the batch counts events:
/// two positions each, for the chunk behind it. On PostgreSQL it counts snapshots: 2^24 positions
/// each. Events of a snapshot beyond that many share the last of them but one. What is read again
/// there has numbers of the log for versions, and positions as on SQLite, below all others.
Position position_of(const Version& version, const Dialect& dialect);

/// Where sequence order is commit order, and for what is read again: the number of the event at the
/// position, and the other way round.
constexpr std::uint64_t seq_of(Position position) { return position / 2; }
constexpr Position position_of_seq(std::uint64_t seq) { return seq * 2; }

/// Up to which position everything is acknowledged; 0 before the first event. Errors: those of
/// Connection.
Result<Position> acknowledged_by(Connection& connection, std::string_view reader);

}  // namespace instep::direct
