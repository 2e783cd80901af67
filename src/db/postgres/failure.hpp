// What PostgreSQL refused, as our errors.
#pragma once

#include "instep/base/error.hpp"

#include <libpq-fe.h>

#include <expected>
#include <string_view>

namespace instep::postgres {

/// The failure of `result`, which the server answered to `sql`, or of the connection where
/// there was no answer. `display_url` begins the message.
std::unexpected<Error> failure(const PGconn* connection, const PGresult* result,
                               std::string_view display_url, std::string_view sql = {});

/// Why a connection could not be opened.
std::unexpected<Error> connect_failure(const PGconn* connection, std::string_view display_url);

/// True if a prepared statement no longer fits its tables and must be prepared again.
bool is_outdated_plan(const PGresult* result);

}  // namespace instep::postgres
