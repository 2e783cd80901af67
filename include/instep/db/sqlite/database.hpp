// SQLite as a database: one file, one writer at a time, readers that never wait.
//
// Files are kept in WAL mode; an existing file in another mode is converted when it is first
// opened. SQLite before 3.51.3 can damage a file if a writer starts the write-ahead log over
// while a checkpoint runs that found nothing to do. Connections from here never meet that:
// automatic checkpoints are off, and a connection whose commit made the log long copies it back
// itself, while it holds the write lock. A long reader delays this, and the log grows meanwhile.
// Other programs that write to the same file, such as the sqlite3 shell, checkpoint as they like.
//
// NaN is refused with kRejected, since SQLite would store NULL. A column of a real type stores
// -0.0 as 0.0; one without a type keeps it.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/db/database.hpp"
#include "instep/db/dialect.hpp"

#include <cstdint>
#include <memory>
#include <string_view>

struct sqlite3;

namespace instep {

/// What connect() does if there is no file.
enum class SqliteCreate : std::uint8_t {
    kIfMissing,  ///< Creates an empty database. The directory must exist.
    kNever,      ///< Fails with kNotFound.
};

struct SqliteOptions {
    /// kNever for a database that somebody else must have made.
    SqliteCreate create = SqliteCreate::kIfMissing;
};

/// The database in a file: "sqlite:PATH", "sqlite:///ABSOLUTE/PATH" or a plain path. Touches
/// nothing before connect(). `clock` must outlive the database and its connections.
///
/// Errors: kInvalidArgument for another URL or an empty path. connect() adds to its own:
/// kPermissionDenied if the file cannot be written, kUnsupported if it cannot be kept in WAL
/// mode (a network file system).
Result<std::unique_ptr<Database>> open_sqlite(std::string_view path_or_url, const Clock& clock,
                                              SqliteOptions options = {});

/// A database in memory, shared by all its connections, gone with the object and the last of
/// them. It has no WAL: a write transaction waits for all others and they for it, so a thread
/// that has one transaction open and begins another gets kBusy.
Result<std::unique_ptr<Database>> open_sqlite_in_memory(const Clock& clock);

/// A connection over a handle that the caller has opened, configures, and closes after the
/// connection is gone. Neither its settings nor a transaction it has open are touched:
/// see Transaction::join(). Errors: kInvalidArgument if `handle` is null.
Result<std::unique_ptr<Connection>> adopt_sqlite(sqlite3* handle, const Clock& clock);

const Dialect& sqlite_dialect();

}  // namespace instep
