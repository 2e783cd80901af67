#pragma once

#include <libpq-fe.h>

#include <memory>

namespace instep::postgres {

struct ClearResult {
    void operator()(PGresult* result) const noexcept { PQclear(result); }
};

/// One answer of the server.
using ServerResult = std::unique_ptr<PGresult, ClearResult>;

inline bool is_good(const PGresult* result) noexcept {
    const ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

}  // namespace instep::postgres
