// PostgreSQL 13 and later as a database, over libpq.
//
// Our own tables live in the schema `instep`: what a module's SQL calls instep_log is
// instep.log there. A connection that was lost is opened again by the next call outside of a
// transaction. Sessions run in UTC, with ISO dates and full precision, whatever the server's
// defaults, so that a value has one text.
//
// Text holds no zero byte here. A write transaction reads what others committed meanwhile
// (READ COMMITTED): what must not change under it is locked with Dialect::row_lock().
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/db/database.hpp"
#include "instep/db/dialect.hpp"

#include <memory>
#include <string_view>

/// libpq's PGconn.
struct pg_conn;

namespace instep {

/// The database that a libpq URL names: "postgresql://user@host/database?sslmode=verify-full",
/// with everything that libpq takes from there, from the environment and from ~/.pgpass. Touches
/// nothing before connect(). `clock` measures waits; it must outlive the database and its
/// connections.
///
/// A transaction-mode pooler in between is noticed when a connection is opened, by its
/// process id. Statements are then not kept prepared, and every call is a transaction.
///
/// Errors: kInvalidArgument for another URL. connect() adds to its own: kSchemaMismatch for a
/// server before 13, kUnavailable also for a server that is only a standby.
Result<std::unique_ptr<Database>> open_postgres(std::string_view url, const Clock& clock);

/// Opens a session of its own to see whether a transaction-mode pooler is in between. Errors: as
/// Database::connect().
Result<bool> is_behind_pooler(std::string_view url);

/// A connection over a handle that the caller has opened, configures, and closes after the
/// connection is gone. Neither its settings nor a transaction it has open are touched:
/// see Transaction::join(). Errors: kInvalidArgument if `handle` is null or not connected.
Result<std::unique_ptr<Connection>> adopt_postgres(pg_conn* handle, const Clock& clock);

const Dialect& postgres_dialect();

}  // namespace instep
