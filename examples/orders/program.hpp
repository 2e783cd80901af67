// What both programs do alike: prepare the database, run the service until it is told to end.
#pragma once

#include <instep/base/error.hpp>
#include <instep/config/service_file.hpp>
#include <instep/service/service.hpp>

#include <functional>
#include <string_view>

namespace orders {

/// Makes the program's own tables by the script `tables`, which stands beside the service file,
/// and what Instep needs. Safe to repeat. Errors: kNotFound for the script; as apply_service().
instep::Result<void> prepare(const instep::ServiceConfig& config, std::string_view tables);

/// Runs the service until SIGINT or SIGTERM; says "ready" on stdout. Call it before the first
/// thread. Errors: as Service::create() and Service::stop().
instep::Result<void> run(const instep::ServiceConfig& config, const instep::Handlers& handlers);

/// The body of main(): what a failure says goes to stderr; returns the exit code, which is 2 for
/// kInvalidArgument, 5 for kNotFound, 6 for kConflict and otherwise 1, as those of `instep`.
int exit_code_of(const std::function<instep::Result<void>()>& body);

}  // namespace orders
