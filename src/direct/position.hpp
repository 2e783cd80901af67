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

}  // namespace instep::direct
