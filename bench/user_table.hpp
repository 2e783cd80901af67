// Rows like those of a user directory: 20 columns, some 330 bytes.
#pragma once

#include "instep/capture/contract.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace instep::bench {

/// The published columns, as in a [[publish]] entry.
PublishEntry user_entry();

/// Makes the table; `extra` is added to the column list.
void create_user_table(Connection& connection, std::string_view table, std::string_view extra = "");

/// Inserts or updates the rows `first` up to `end`, in transactions of `batch` rows, with values
/// that differ in every `round`.
void write_users(Connection& connection, std::string_view table, std::int64_t first,
                 std::int64_t end, std::int64_t batch, std::int64_t round);

/// The same rows into a replica's table, which has a version beside the columns.
void write_replica(Connection& connection, std::int64_t first, std::int64_t end, std::int64_t batch,
                   std::int64_t round);

}  // namespace instep::bench
