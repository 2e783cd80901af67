// What only a check of SQLite looks at.
#pragma once

#include "checked_replica.hpp"
#include "findings.hpp"
#include "instep/db/connection.hpp"

namespace instep {

Result<void> look_at_sqlite(Connection& connection, Findings& findings);

/// The table exists.
Result<void> look_at_sqlite_replica(Connection& connection, const CheckedReplica& replica,
                                    Findings& findings);

}  // namespace instep
