// Brings capture from PostgreSQL's write-ahead log into force, and ends it.
//
// A switch loses and repeats nothing. Its transaction holds the published tables and the log, so
// that no change is under way: what was committed before is read as it was, by snapshots of the
// log or from the write-ahead log, what comes behind the other way. The relay reads the first
// part to its end before it turns to the second, also when it was not running meanwhile. Writers
// wait for the moment that the transaction takes.
//
// What stands afterwards: a publication and a replication slot, both named instep_<service>, the
// publication with the published tables, instep.log and instep.contract. The server keeps its log
// for the slot whether or not a relay runs.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/capture/capture.hpp"
#include "instep/db/connection.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// What apply_wal_capture() would do. Empty when all is in force. Changes nothing.
///
/// Errors: those of plan_capture(); kUnsupported for a table whose updates the write-ahead log
/// cannot bring: another replica identity than the primary key or the full row, a generated
/// column, an unlogged table; kConfigInvalid if wal_level is not logical, or the log was read in
/// several partitions; kBusy if the last switch is not read to its end.
Result<std::vector<SchemaChange>> plan_wal_capture(Connection& connection, std::string_view service,
                                                   std::span<const PublishEntry> entries);

/// What to capture, and where.
struct WalCaptureOptions {
    /// Whose slot and topics they are.
    std::string_view service;

    /// The database, as for open_postgres(); the user needs the REPLICATION attribute, and to own
    /// the published tables.
    std::string_view url;

    /// What the service lets out; no other table's entries stay in force.
    std::span<const PublishEntry> entries;
};

/// Drops the capture triggers and lets the relay take changes from the write-ahead log. Runs in
/// steps; where it ended in the middle, it goes on. Returns what it did.
///
/// Errors: as plan_wal_capture(); kConflict if the slot is another database's;
/// kPermissionDenied; kBusy if a writer took longer than the connection's patience; those of
/// ReplicationConnection::create_slot().
Result<std::vector<SchemaChange>> apply_wal_capture(Connection& connection,
                                                    const WalCaptureOptions& options,
                                                    const Clock& clock);

/// As plan_capture() for triggers, also where the write-ahead log was read so far. Where it was
/// never, also on SQLite, it is plan_capture(). Errors: as that; kBusy as above.
Result<std::vector<SchemaChange>> plan_trigger_capture(Connection& connection,
                                                       std::string_view service,
                                                       std::span<const PublishEntry> entries);

/// Runs its changes, planned anew within the transaction. The relay removes the slot and the
/// publication when it has read them to their end. Returns what it did.
Result<std::vector<SchemaChange>> apply_trigger_capture(Transaction& transaction,
                                                        std::string_view service,
                                                        std::span<const PublishEntry> entries);

}  // namespace instep
