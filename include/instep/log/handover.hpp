// Hands the log of a PostgreSQL database over between readers by snapshot and a reader of the
// write-ahead log, so that each event is read by exactly one of them.
//
// The boundary is a moment at which nobody has a row of the log in flight: its lock sees to
// that. What a snapshot of that moment sees was committed before every position that the
// write-ahead log has from then on, and what it does not see will be committed behind it.
// Cursors that are handed over have one partition.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/log/snapshot.hpp"

#include <cstdint>
#include <string_view>

namespace instep {

/// Lets nobody write to the log before the transaction ends, and waits for those who did. Lock
/// the tables whose triggers write to it before, in the same transaction. Errors: kBusy when a
/// writer took longer than the connection's patience; those of Connection.
Result<void> lock_log(Transaction& transaction);

/// Readers by snapshot read what is committed now, and then nothing more. Needs the lock.
/// Errors: kConfigInvalid if the cursor has several partitions; those of Connection.
Result<void> end_snapshot_reading(Transaction& transaction, std::string_view reader);

/// True if a reader by snapshot has confirmed all that end_snapshot_reading() left to it.
Result<bool> snapshot_reading_has_ended(Connection& connection, std::string_view reader);

/// Readers by snapshot begin behind what is committed now, with batches above `batch`. Needs
/// the lock. Errors: those of Connection.
Result<void> begin_snapshot_reading(Transaction& transaction, std::string_view reader,
                                    std::uint64_t batch);

/// Everything that `seen` sees was read another way, so that it may be trimmed. `seq` was read
/// from the log's sequence before `seen` was taken. Errors: kCorrupt; those of Connection.
Result<void> pass_in_log(Transaction& transaction, std::string_view reader, const Snapshot& seen,
                         std::uint64_t seq);

}  // namespace instep
