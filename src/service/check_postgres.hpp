// What only a check of PostgreSQL looks at. Nothing here changes anything; every fix that can be
// SQL is SQL that an administrator may paste.
#pragma once

#include "checked_replica.hpp"
#include "findings.hpp"
#include "instep/base/clock.hpp"
#include "instep/capture/capture.hpp"
#include "instep/config/service_file.hpp"
#include "instep/db/connection.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace instep {

struct ServerCheck {
    std::string_view url;
    CaptureBy capture = CaptureBy::kTriggers;

    /// An older transaction is worth a warning.
    std::chrono::seconds transaction_age_max{60};
};

/// Version, durability, what the WAL is good for, pooler, clock, transactions that hold others
/// up, and events that our log had no partition for.
Result<void> look_at_server(Connection& connection, const ServerCheck& check, const Clock& clock,
                            Findings& findings);

/// What the user may not do, each a problem if the service cannot work without it.
Result<void> look_at_rights(Connection& connection, const ServiceConfig& config,
                            Findings& findings);

/// The first of these problems as an error, so that nothing is begun that ends half-way. Errors:
/// kPermissionDenied; those of Connection.
Result<void> refuse_missing_rights(Connection& connection, const ServiceConfig& config);

/// A published table and what happens around it. It has passed bind_contract().
Result<void> look_at_published(Connection& connection, const Contract& contract, CaptureBy capture,
                               Findings& findings);

/// A replica's table as far as it exists; `contract` is null while the owner's is not known.
Result<void> look_at_replica_table(Connection& connection, const CheckedReplica& replica,
                                   const Contract* contract, Findings& findings);

/// A table as the catalogue has it, by its name in a service file.
struct TableId {
    std::int64_t oid = 0;

    /// Quoted, and with its schema where that is needed.
    std::string name;
};

/// Nothing if there is none.
Result<std::optional<TableId>> find_table(Connection& connection, std::string_view table);

}  // namespace instep
