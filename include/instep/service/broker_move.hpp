// Taking services that run from one broker to another, without losing, repeating or reordering
// the effect of an event.
//
// First every subscription is made on the new broker. Then each relay goes over: what its cursor
// has passed is on the old broker, what follows goes to the new one. Who reads stays on the old
// broker until nothing is left there, and then goes on with the new one. An event that a relay
// published twice on the way is a repeat like any other. How far a service is stands in its own
// database and is read in every transaction of its relay and its consumers, so that nobody works
// on by what was true before; a crash of anything leaves it to the next call to go on.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/config/service_file.hpp"
#include "instep/db/connection.hpp"
#include "instep/service/service.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace instep {

/// How far a service is.
enum class MoveStage : std::uint8_t {
    kPrepared,    ///< It is subscribed on both brokers, and uses the old one.
    kPublishing,  ///< It publishes to the new one, and reads the old one to its end.
    kMoved,       ///< It uses the new one, whatever its file still says.
};

/// "prepared", "publishing" or "moved".
std::string_view to_string(MoveStage stage) noexcept;

/// What a service's database says of its last move.
struct BrokerMove {
    /// What the service's file named, without secrets.
    std::string old_broker;

    /// As it was given, with the names of variables and not their values.
    std::string new_broker;
    MoveStage stage = MoveStage::kPrepared;
};

/// Nothing if the service was never moved. Errors: kCorrupt; those of Connection.
Result<std::optional<BrokerMove>> read_broker_move(Connection& connection);

/// How far all services are.
struct MigrationStatus {
    /// The stage that the last of them has reached.
    MoveStage stage = MoveStage::kPrepared;

    /// What the old broker still holds, for people; empty when all have moved.
    std::string waiting_for;
};

/// Goes as far as it can without waiting; call again until the stage is kMoved. Safe to repeat
/// after a crash and, with the same arguments, from several processes. Services that run follow
/// within seconds (Service::has_moved()), and those that do not when they start.
///
/// `new_broker` may hold ${NAME} where the services' own environment has the value, and must
/// where it holds a secret. All services that use a topic have to be given together.
///
/// Errors: kInvalidArgument for a broker that they use already, or that is none; kConfigInvalid
/// for services on different brokers, or without one; kConflict if a service that was not given
/// would be left behind, or another move is not done; those of Database and Broker.
Result<MigrationStatus> advance_broker_migration(std::span<const ServiceConfig> services,
                                                 const std::string& new_broker, const Clock& clock,
                                                 Brokers& brokers);

}  // namespace instep
