// Comparing a digest of the owner with this replica, and asking on where they differ.
#pragma once

#include "instep/event/event.hpp"
#include "instep/replica/replica.hpp"
#include "instep/replica/verification.hpp"
#include "json_rows.hpp"
#include "replica_table.hpp"

namespace instep {

/// Holds the digest against the table as it is within the transaction. Runs that differ are
/// asked for key by key; keys that differ are recorded, and for a repair their rows are asked
/// for. Digests of verifications that this database does not know are ignored.
Result<void> compare_digest(Transaction& transaction, const ReplicaDefinition& definition,
                            const ReplicaTable& table, const Event& event, JsonRows& json);

}  // namespace instep
