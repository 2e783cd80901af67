// The brokers that a service uses now, by its file and by a move.
#pragma once

#include "instep/base/error.hpp"
#include "instep/config/service_file.hpp"
#include "instep/db/connection.hpp"
#include "instep/service/broker_move.hpp"

#include <functional>
#include <optional>
#include <string>

namespace instep {

/// URLs with their secrets. Both are the file's unless the service is on its way.
struct BrokerHomes {
    std::string publishes_to;
    std::string reads_from;

    /// The move that counts, if one does.
    std::optional<MoveStage> stage;
};

/// The move, if it began at the broker that the service's file names. Errors: kConfigInvalid if
/// the file names the new broker already and the old one is not read to its end; those of
/// read_broker_move().
Result<std::optional<BrokerMove>> move_that_counts(Connection& connection,
                                                   const ServiceConfig& service);

/// Errors: as move_that_counts(); kConfigInvalid if a variable is not set.
Result<BrokerHomes> find_homes(Connection& connection, const ServiceConfig& service);

/// True if find_homes() would tell of other brokers now. Errors: as move_that_counts().
Result<bool> has_gone_on(Connection& connection, const ServiceConfig& service,
                         const BrokerHomes& homes);

/// What must hold for a lease of whoever publishes, or reads, by `homes`: kFenced once the service
/// has gone on. `service` must outlive it.
std::function<Result<void>(Transaction&)> still_publishes(const ServiceConfig& service,
                                                          const BrokerHomes& homes);
std::function<Result<void>(Transaction&)> still_reads(const ServiceConfig& service,
                                                      const BrokerHomes& homes);

/// The stage goes from `from` to `to`, and who held a lease by the old one has lost it. Errors:
/// those of Connection.
Result<void> set_stage(Transaction& transaction, MoveStage from, MoveStage to);

/// Begins a move in place of the last one. Errors: those of Connection.
Result<void> begin_move(Transaction& transaction, const BrokerMove& move);

}  // namespace instep
