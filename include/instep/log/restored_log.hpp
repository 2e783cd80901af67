#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"

namespace instep {

/// Finds out, on PostgreSQL, whether the log was made where it is now. One that was restored
/// from a dump gets a new incarnation, and every cursor is set to read, first of all, what
/// came with the dump unread: by the old server's snapshots, which say what that is.
///
/// Holds off appends meanwhile. Not recognized: a copy of the whole server's files, which a
/// broker that remembers more tells of (Relay).
Result<void> restamp_restored_log(Transaction& transaction);

}  // namespace instep
