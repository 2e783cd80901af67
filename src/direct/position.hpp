// Versions of a log as positions, which are numbers.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/db/dialect.hpp"
#include "instep/event/version.hpp"

namespace instep::direct {

/// Rises with the versions of one epoch, and stays below 2^63. On SQLite the batch counts events:
/// two positions each, for the chunk behind it. On PostgreSQL it counts snapshots: 2^24 positions
/// each. Events of a snapshot beyond that many share the last of them but one.
Position position_of(const Version& version, const Dialect& dialect);

/// Where sequence order is commit order: the number of the event at the position, and the other way
/// round.
constexpr std::uint64_t seq_of(Position position) { return position / 2; }
constexpr Position position_of_seq(std::uint64_t seq) { return seq * 2; }

}  // namespace instep::direct
