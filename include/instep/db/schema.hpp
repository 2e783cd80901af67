// The migrations of a service's database: all tables whose names begin with "instep_".
#pragma once

#include "instep/db/database.hpp"
#include "instep/db/dialect.hpp"

#include <span>

namespace instep {

/// For migrate(). Lives as long as the program.
std::span<const Migration> service_migrations(const Dialect& dialect);

/// Errors: kSchemaMismatch if they were not all run, or more than this program knows; those of
/// Connection.
Result<void> check_service_tables(Connection& connection);

}  // namespace instep
