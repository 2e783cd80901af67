// The order in which rows of tables that refer to each other can be written.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/replica/replica.hpp"

#include <cstddef>
#include <span>
#include <vector>

namespace instep {

/// Places of the definitions: a table stands behind those that its foreign keys lead to. Where they
/// lead in a circle, the given order decides. Errors: those of Connection.
Result<std::vector<std::size_t>> table_order(Connection& connection,
                                             std::span<const ReplicaDefinition> definitions);

/// Puts off to the commit whatever constraint can be; SQLite can with every foreign key.
Result<void> defer_constraints(Transaction& transaction);

}  // namespace instep
