// What a replica's database remembers about it, and the requests that it sends to the owner.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/db/connection.hpp"
#include "instep/replica/replica.hpp"
#include "instep/replica/scan.hpp"
#include "json_rows.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace instep {

/// A row of instep_replica.
struct ReplicaRow {
    std::int64_t id = 0;
    ReplicaState state = ReplicaState::kNew;

    /// JSON; empty before the first chunk.
    std::string contract;

    /// The owner's epoch that the contract is of.
    std::uint32_t contract_epoch = 0;

    /// The newest change taken in without its contract, as to_bytes() of its version.
    std::string passed;

    /// The owner's epoch that the rows are of; 0 before the first event.
    std::uint32_t epoch = 0;
    std::string backfill;

    /// False if no deletion is remembered.
    bool has_tombstones = true;
};

std::int64_t micros(Timestamp time);

Result<ReplicaState> parse_replica_state(std::string_view text);

/// Makes the row if the replica is new. Errors: kConflict if the table follows another topic.
Result<ReplicaRow> replica_row(Transaction& transaction, const ReplicaDefinition& definition);

/// The owner's contract as ReplicaRow::contract has it; nothing if that is empty. Errors: kCorrupt.
Result<std::optional<Contract>> stored_contract(std::string_view text);

/// The same of the replica of that name, also before our own tables are made.
Result<std::optional<Contract>> stored_contract(Connection& connection,
                                                const ReplicaDefinition& definition);

/// The replica's id, if it was last asked for with another mapping of columns.
Result<std::optional<std::int64_t>> find_remapped(Connection& connection,
                                                  const ReplicaDefinition& definition);

/// Appends the request to this service's log.
Result<void> send_scan_request(Transaction& transaction, const ReplicaDefinition& definition,
                               const ScanRequest& request);

/// Sets the replica filling and asks for all rows. Returns the backfill's id.
Result<std::string> begin_backfill(Transaction& transaction, const ReplicaDefinition& definition,
                                   std::int64_t replica_id, Random& random);

/// What one chunk or digest means for the scan it belongs to.
struct Answer {
    /// Taken in before; it may come again after a crash.
    bool repeated = false;

    /// It was the last one of the last partition.
    bool ends_scan = false;
};

/// True if any chunk or digest of the scan was taken in.
Result<bool> is_answered(Transaction& transaction, std::string_view scan);

/// Notes that the answer is being taken in.
Result<Answer> take_answer(Transaction& transaction, const ChunkHeader& header);

/// The verification that a scan belongs to: the part of its id before the first slash.
std::string_view verification_of(std::string_view scan);

/// One scan fewer is open; finishes the verification after the last.
Result<void> close_verification_scan(Transaction& transaction, std::string_view scan);

std::string to_json(const ScanRequest& request);
Result<ScanRequest> scan_request_from_json(std::string_view text);
std::string_view to_string(ScanKind kind) noexcept;

}  // namespace instep
