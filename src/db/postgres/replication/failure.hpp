// What PostgreSQL and its C library say of failures, as our errors.
#pragma once

#include "instep/base/error.hpp"

#include <libpq-fe.h>

#include <string>
#include <string_view>

namespace instep::replication {

/// A failure as the server or the library described it, in one line.
struct Reason {
    /// SQLSTATE; empty if only the library spoke.
    std::string state;
    std::string text;
};

Reason reason_of(const PGresult* result);

/// Of a connection whose error verbosity is PQERRORS_VERBOSE.
Reason reason_of(const PGconn* connection);

/// Our code for a SQLSTATE, wherever it means one thing only.
ErrorCode code_of(std::string_view state);

/// What an operator can do; empty or beginning with "; ".
std::string_view advice_for(std::string_view state);

}  // namespace instep::replication
