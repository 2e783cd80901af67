#pragma once

#include "instep/base/error.hpp"
#include "instep/db/database.hpp"

#include <libpq-fe.h>

#include <memory>
#include <string>
#include <string_view>

namespace instep::postgres {

struct FinishConnection {
    void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
};
using Handle = std::unique_ptr<PGconn, FinishConnection>;

/// Where to connect to, and how.
struct SessionOptions {
    std::string url;
    std::string display_url;
    ConnectOptions connect;
};

/// An open session and what was found out about it.
struct Session {
    Handle handle;

    /// Settings last for a transaction, since a pooler gives every one to another server process.
    bool is_pooled = false;
};

/// Errors: kSchemaMismatch for a server that is too old, by PQserverVersion()'s number.
Result<void> check_server_version(int version, std::string_view display_url);

/// Opens a session and gives it our settings. Errors: as Database::connect().
Result<Session> open_session(const SessionOptions& options);

/// The settings as statements, for a session or ("SET LOCAL") for one transaction.
std::string settings_script(const ConnectOptions& options, std::string_view set);

/// The URL for messages: user, host, port and database, nothing else. Errors:
/// kInvalidArgument if it is none of PostgreSQL's.
Result<std::string> display_url_of(const std::string& url);

}  // namespace instep::postgres
