// The migrations of a service's database: all tables whose names begin with "instep_".
#pragma once

#include "instep/db/database.hpp"
#include "instep/db/dialect.hpp"

#include <span>

namespace instep {

/// For migrate(). Lives as long as the program.
std::span<const Migration> service_migrations(const Dialect& dialect);

}  // namespace instep
