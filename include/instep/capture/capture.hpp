// Compiles publish contracts into triggers that append user.created, user.updated and
// user.deleted to the log, in the transaction that changes the row, whoever changes it.
//
// The triggers name the allowed columns and no other. Changing a key is a delete of the old
// key and a create of the new one. An update that touches no published column is no event.
//
// What a trigger cannot see. On SQLite: rows that INSERT OR REPLACE removes because of another
// unique index (no delete trigger fires for them). On PostgreSQL: changes in sessions with
// session_replication_role = replica, and TRUNCATE of a single partition. preflight() warns,
// verify finds what was missed.
#pragma once

#include "instep/base/error.hpp"
#include "instep/capture/contract.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

class Dialect;

/// Statements that `instep apply` would run, and why.
struct SchemaChange {
    std::string summary;
    std::string sql;
};

/// What `instep check` found.
struct Finding {
    /// A problem keeps the service from working; a warning may lose or leak; a note informs.
    enum class Severity : std::uint8_t { kNote, kWarning, kProblem };

    Severity severity = Severity::kNote;

    /// What it is about, such as "table users".
    std::string subject;
    std::string message;

    /// What to do.
    std::string fix;
};

/// Who takes changes of published tables.
enum class CaptureBy : std::uint8_t {
    kTriggers,  ///< Triggers, which append to the log.
    kWal,       ///< The relay, from PostgreSQL's write-ahead log: no trigger is needed.
};

/// What has to change so that exactly these entries are captured: triggers to create, to
/// replace because the contract, the table or the trigger itself changed, and to drop.
/// Empty when all is in force. Changes nothing.
///
/// Errors: those of bind_contract(); kConflict when two entries share a table or an entity;
/// those of Connection.
Result<std::vector<SchemaChange>> plan_capture(Connection& connection, std::string_view service,
                                               std::span<const PublishEntry> entries,
                                               CaptureBy by = CaptureBy::kTriggers);

/// Runs the changes in their order. Errors: those of Connection, with the change's summary.
Result<void> run_changes(Transaction& transaction, std::span<const SchemaChange> changes);

/// Runs plan_capture()'s changes, planned anew within the transaction. Returns how many.
Result<std::size_t> apply_capture(Transaction& transaction, std::string_view service,
                                  std::span<const PublishEntry> entries);

/// The contracts that are in force, by entity. Errors: those of Connection.
Result<std::vector<Contract>> contracts_in_force(Connection& connection);

/// Reports what the entries would let out or miss. Errors: those of Connection.
Result<std::vector<Finding>> preflight(Connection& connection, std::string_view service,
                                       std::span<const PublishEntry> entries);

/// SQL for the event key of a row: the column's text, or a JSON array of a composite key.
/// `row` is "NEW", "OLD" or a table alias.
std::string key_expression(const Contract& contract, const Dialect& dialect, std::string_view row);

}  // namespace instep
