// Compiles publish contracts into row triggers that append user.created, user.updated and
// user.deleted to the log, in the transaction that changes the row, whoever changes it.
//
// The triggers name the allowed columns and no other. Changing a key is a delete of the old
// key and a create of the new one. An update that touches no published column is no event.
// What a trigger cannot see: rows that INSERT OR REPLACE removes because of another unique
// index (SQLite fires no delete trigger for them); preflight() warns, verify finds them.
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

/// One statement that `instep apply` would run, and why.
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

/// What has to change so that exactly these entries are captured: triggers to create, to
/// replace because the contract, the table or the trigger itself changed, and to drop.
/// Empty when all is in force. Changes nothing.
///
/// Errors: those of bind_contract(); kConflict when two entries share a table or an entity;
/// those of Connection.
Result<std::vector<SchemaChange>> plan_capture(Connection& connection, std::string_view service,
                                               std::span<const PublishEntry> entries);

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
