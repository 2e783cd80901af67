// Services without a broker: their followers read their logs.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/config/service_file.hpp"
#include "instep/db/database.hpp"
#include "instep/log/reader.hpp"

#include <memory>
#include <span>
#include <string_view>

namespace instep {

class Logger;

/// True for "direct:" and "direct:FILE,…".
bool is_direct(std::string_view broker);

/// The log of the service, and those of the owners that it follows, as a broker. Owners are looked
/// for in the files that `config.broker` names, then among `peers`. `clock` and `logger` must
/// outlive it. Errors: as load_service_file(); kConfigInvalid for an owner that uses another
/// broker; those of Database.
Result<std::unique_ptr<Broker>> open_direct(const ServiceConfig& config,
                                            std::span<const ServiceConfig> peers,
                                            const Clock& clock, Logger& logger);

/// How the relay of such a service reads its log: only what goes to other services.
LogReader::Open requests_reader(std::string service);

/// Makes a log ready for a relay that publishes to a broker after followers have read it
/// themselves. What some of them have not read yet was never published, so an epoch begins, which
/// has all of them filled again; and their cursors go. No effect if nobody has read. Errors: those
/// of Connection.
Result<void> end_direct_reading(Connection& connection, const ServiceConfig& config);

/// Errors: kSchemaMismatch as long as a write-ahead log is being read, which only a relay does;
/// those of Connection.
Result<void> refuse_wal(Connection& connection, const ServiceConfig& config);

}  // namespace instep
