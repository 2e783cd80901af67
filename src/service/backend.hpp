// The only place that knows backends by name.
#pragma once

#include "instep/capture/capture.hpp"
#include "instep/config/service_file.hpp"
#include "instep/db/database.hpp"
#include "instep/log/reader.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace instep {

class Logger;

/// What apply would do for the capture that the file names. Errors: as plan_wal_capture() and
/// plan_trigger_capture().
Result<std::vector<SchemaChange>> plan_capture_in_force(Connection& connection,
                                                        const ServiceConfig& config);

/// How the relay of a service reads its log. `database`, `clock` and `logger` must outlive it.
LogReader::Open log_reader(const ServiceConfig& config, Database& database, const Clock& clock,
                           Logger& logger);

/// True for a database on a PostgreSQL server.
bool is_postgres(std::string_view url);

/// The path of a "sqlite:…" or "embedded:…" URL.
std::string path_of(std::string_view url);

}  // namespace instep
