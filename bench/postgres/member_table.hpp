// Rows of eight columns that make some 300 bytes of JSON.
#pragma once

#include "bench/postgres/server.hpp"
#include "instep/capture/contract.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace instep::bench {

/// All columns of the table, as a [[publish]] entry of entity "member".
PublishEntry member_entry(std::string table);

/// "id, email, …"
std::string member_columns();

/// Makes the table with an index on `email`; `options` is a WITH clause or empty.
void create_members(Session& session, const std::string& table, std::string_view options = "");

/// Inserts the rows `first` up to and including `last`.
void insert_members(Session& session, const std::string& table, std::int64_t first,
                    std::int64_t last);

/// A SELECT list of the values of row `g`, in the order of the columns.
std::string member_values();

/// SQL for the row's JSON as capture triggers write it, from the columns.
std::string member_json();

/// Rows, and a number that is another one if any value of any row is.
std::string member_checksum(Session& session, const std::string& table);

}  // namespace instep::bench
